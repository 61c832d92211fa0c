#include "protocols/quic/tls.h"

#include <ngtcp2/ngtcp2_crypto_boringssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>

#include "edge/base/check.h"
#include "edge/io/tls_context.h"

static SSL_CTX *settings;

static ngtcp2_conn *connection_of(ngtcp2_crypto_conn_ref *ref)
{
    return ref->user_data;
}

/* Apart from those of TCP's sessions, which QUIC's method would take over. */
static void make_settings(void)
{
    settings = tls_settings_new();
    CHECK(ngtcp2_crypto_boringssl_configure_server_context(settings) == 0);
}

bool quic_tls_accept(struct quic_tls *t, ngtcp2_conn *conn, tls_select select, const void *user,
                     struct slice promised)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_settings);
    *t = (struct quic_tls){
        .hello = { .protocols = TLS_H3, .select = select, .user = user },
        .ref = { connection_of, conn },
    };
    SSL *ssl = SSL_new(settings);
    if (!ssl) return false;
    tls_hello_attach(&t->hello, ssl);
    SSL_set_app_data(ssl, &t->ref);
    SSL_set_accept_state(ssl);
    SSL_set_shed_handshake_config(ssl, 1);
    ngtcp2_conn_set_tls_native_handle(conn, ssl);
    return SSL_set_quic_early_data_context(ssl, (const uint8_t *)promised.p, promised.n);
}

bool quic_tls_resumed(const struct quic_tls *t)
{
    return SSL_session_reused(t->hello.ssl);
}

void quic_tls_free(struct quic_tls *t)
{
    SSL_free(t->hello.ssl);
    t->hello.ssl = NULL;
    ERR_clear_error();
}
