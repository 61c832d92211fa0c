"""
Field sections of HTTP/3 (RFC 9204) without a dynamic table, which a client need not allow: an encoder of literals,
which can write anything, and a decoder of the static table and Huffman's code. Independent of the node's library.
"""

from hpack.huffman_table import decode_huffman

from .wire import Malformed

# RFC 9204, appendix A: names, each with the values that follow each other in the table.
STATIC = [(name, value) for name, values in (
    (":authority", [""]), (":path", ["/"]), ("age", ["0"]), ("content-disposition", [""]), ("content-length", ["0"]),
    ("cookie", [""]), ("date", [""]), ("etag", [""]), ("if-modified-since", [""]), ("if-none-match", [""]),
    ("last-modified", [""]), ("link", [""]), ("location", [""]), ("referer", [""]), ("set-cookie", [""]),
    (":method", ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"]), (":scheme", ["http", "https"]),
    (":status", ["103", "200", "304", "404", "503"]), ("accept", ["*/*", "application/dns-message"]),
    ("accept-encoding", ["gzip, deflate, br"]), ("accept-ranges", ["bytes"]),
    ("access-control-allow-headers", ["cache-control", "content-type"]), ("access-control-allow-origin", ["*"]),
    ("cache-control", ["max-age=0", "max-age=2592000", "max-age=604800", "no-cache", "no-store",
                       "public, max-age=31536000"]),
    ("content-encoding", ["br", "gzip"]),
    ("content-type", ["application/dns-message", "application/javascript", "application/json",
                      "application/x-www-form-urlencoded", "image/gif", "image/jpeg", "image/png", "text/css",
                      "text/html; charset=utf-8", "text/plain", "text/plain;charset=utf-8"]),
    ("range", ["bytes=0-"]),
    ("strict-transport-security", ["max-age=31536000", "max-age=31536000; includesubdomains",
                                   "max-age=31536000; includesubdomains; preload"]),
    ("vary", ["accept-encoding", "origin"]), ("x-content-type-options", ["nosniff"]),
    ("x-xss-protection", ["1; mode=block"]),
    (":status", ["100", "204", "206", "302", "400", "403", "421", "425", "500"]), ("accept-language", [""]),
    ("access-control-allow-credentials", ["FALSE", "TRUE"]), ("access-control-allow-headers", ["*"]),
    ("access-control-allow-methods", ["get", "get, post, options", "options"]),
    ("access-control-expose-headers", ["content-length"]), ("access-control-request-headers", ["content-type"]),
    ("access-control-request-method", ["get", "post"]), ("alt-svc", ["clear"]), ("authorization", [""]),
    ("content-security-policy", ["script-src 'none'; object-src 'none'; base-uri 'none'"]), ("early-data", ["1"]),
    ("expect-ct", [""]), ("forwarded", [""]), ("if-range", [""]), ("origin", [""]), ("purpose", ["prefetch"]),
    ("server", [""]), ("timing-allow-origin", ["*"]), ("upgrade-insecure-requests", ["1"]), ("user-agent", [""]),
    ("x-forwarded-for", [""]), ("x-frame-options", ["deny", "sameorigin"]),
) for value in values]
assert len(STATIC) == 99


def integer(value, prefix_bits, first=0):
    """RFC 7541 section 5.1, behind the bits of `first`."""
    limit = (1 << prefix_bits) - 1
    if value < limit:
        return bytes([first | value])
    out, value = [first | limit], value - limit
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes(out + [value])


def encode(fields):
    """Literals with literal names, as they are."""
    section = b"\0\0"
    for name, value in fields:
        name, value = name.encode("latin-1"), value.encode("latin-1")
        section += integer(len(name), 3, 0x20) + name + integer(len(value), 7) + value
    return section


class Decoder:
    def __init__(self, section):
        self.data, self.at = section, 0

    def integer(self, prefix_bits):
        limit = (1 << prefix_bits) - 1
        value, shift = self.data[self.at] & limit, 0
        self.at += 1
        if value < limit:
            return value
        while True:
            byte = self.data[self.at]
            self.at += 1
            value += (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def string(self, prefix_bits):
        huffman = self.data[self.at] & 1 << prefix_bits
        length = self.integer(prefix_bits)
        data, self.at = self.data[self.at:self.at + length], self.at + length
        if len(data) < length:
            raise IndexError
        return (decode_huffman(data) if huffman else data).decode("latin-1")

    def line(self):
        first = self.data[self.at]
        if first & 0xc0 == 0xc0:
            return STATIC[self.integer(6)]
        if first & 0xd0 == 0x50:
            return STATIC[self.integer(4)][0], self.string(7)
        if first & 0xe0 == 0x20:
            return self.string(3), self.string(7)
        raise Malformed(f"QPACK: a dynamic table that was not allowed: {first:#x}")

    def lines(self):
        try:
            if self.integer(8) or self.integer(7):
                raise Malformed("QPACK: a section that waits for a dynamic table that was not allowed")
            fields = []
            while self.at < len(self.data):
                fields.append(self.line())
            return fields
        except IndexError:
            raise Malformed(f"QPACK: {self.data!r}") from None


def decode(section):
    return Decoder(section).lines()
