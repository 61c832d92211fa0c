# Varnish: everything on one listener is cached, everything on the other is passed.
vcl 4.1;

backend origin { .host = "127.0.0.1"; .port = "19000"; }
backend pass { .host = "127.0.0.1"; .port = "19001"; }

sub vcl_recv {
    if (local.socket == "misses") {
        set req.backend_hint = pass;
        return (pass);
    }
    return (hash);
}

sub vcl_backend_response {
    if (bereq.backend == origin) {
        set beresp.ttl = 1d;
    }
    return (deliver);
}
