#include "edge/io/tls_context.h"

#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include "edge/base/check.h"
#include "edge/base/mem.h"

#define SELF_SIGNED_DAYS 30

/* In the server's order of preference; TLS 1.3's own suites are always on. */
static const char ciphers[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                              "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                              "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

/* RFC 7301: a client that offers protocols, but none that is spoken here, is told so. */
static int choose_protocol(SSL *ssl, const uint8_t **out, uint8_t *out_bytes,
                           const uint8_t *offered, unsigned offered_bytes, void *user)
{
    static const struct slice names[] = {
        [TLS_H1] = SLICE("\x08http/1.1"),
        [TLS_H2] = SLICE("\x02h2"),
        [TLS_H3] = SLICE("\x02h3"),
        [TLS_H1 | TLS_H2] = SLICE("\x02h2\x08http/1.1"),
    };
    (void)user;
    struct slice ours = names[tls_offered(ssl)];
    int rc = SSL_select_next_proto((uint8_t **)out, out_bytes, (const uint8_t *)ours.p,
                                   (unsigned)ours.n, offered, offered_bytes);
    return rc == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static struct tls_context *context_new(void)
{
    struct tls_context *c = xcalloc(1, sizeof *c);
    atomic_init(&c->references, 1);
    c->ssl = SSL_CTX_new(TLS_server_method());
    CHECK(c->ssl);
    CHECK(SSL_CTX_set_min_proto_version(c->ssl, TLS1_2_VERSION));
    CHECK(SSL_CTX_set_strict_cipher_list(c->ssl, ciphers));
    SSL_CTX_set_options(c->ssl, SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_alpn_select_cb(c->ssl, choose_protocol, NULL);
    SSL_CTX_set_tlsext_servername_callback(c->ssl, tls_choose);
    SSL_CTX_set_session_cache_mode(c->ssl, SSL_SESS_CACHE_OFF); /* tickets do */
    return c;
}

struct tls_context *tls_context_hold(struct tls_context *c)
{
    atomic_fetch_add_explicit(&c->references, 1, memory_order_relaxed);
    return c;
}

void tls_context_drop(struct tls_context **drop)
{
    struct tls_context *c = *drop;
    *drop = NULL;
    if (!c || atomic_fetch_sub_explicit(&c->references, 1, memory_order_acq_rel) != 1) return;
    SSL_CTX_free(c->ssl);
    free(c);
}

/* ---- from files ---- */

static const char *load(SSL_CTX *ssl, const char *certificate_path, const char *key_path)
{
    if (!SSL_CTX_use_certificate_chain_file(ssl, certificate_path))
        return "is no readable file with a PEM certificate";
    if (!SSL_CTX_use_PrivateKey_file(ssl, key_path, SSL_FILETYPE_PEM))
        return "has a key file that is not readable, has no PEM key, or not this certificate's";
    return SSL_CTX_check_private_key(ssl) ? NULL : "does not belong to the key";
}

struct tls_context *tls_context_load(const char *certificate_path, const char *key_path,
                                     const char **why)
{
    struct tls_context *c = context_new();
    *why = load(c->ssl, certificate_path, key_path);
    ERR_clear_error();
    if (*why) tls_context_drop(&c);
    return c;
}

/* ---- self-signed ---- */

static EVP_PKEY *new_key(void)
{
    EC_KEY *ec = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
    CHECK(ec && EC_KEY_generate_key(ec));
    EVP_PKEY *key = EVP_PKEY_new();
    CHECK(key && EVP_PKEY_assign_EC_KEY(key, ec));
    return key;
}

/* "DNS:a.example,DNS:*.example": what clients look at; the subject is for people. */
static void add_names(X509 *x, const struct slice *hosts, size_t host_count)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    CHECK(out);
    fputs("DNS:localhost,IP:127.0.0.1,IP:::1", out);
    for (size_t i = 0; i < host_count; i++) {
        if (!slice_eq(hosts[i], SLICE("*"))) fprintf(out, ",DNS:%.*s", SLICE_ARGS(hosts[i]));
    }
    fclose(out);
    X509_EXTENSION *names = X509V3_EXT_nconf_nid(NULL, NULL, NID_subject_alt_name, text);
    if (names) X509_add_ext(x, names, -1);
    X509_EXTENSION_free(names);
    free(text);
}

static X509 *new_certificate(EVP_PKEY *key, const struct slice *hosts, size_t host_count)
{
    X509 *x = X509_new();
    uint64_t serial;
    RAND_bytes((uint8_t *)&serial, sizeof serial);
    CHECK(x && X509_set_version(x, X509_VERSION_3));
    CHECK(ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), serial >> 1));
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), SELF_SIGNED_DAYS * 86400L);
    X509_NAME *name = X509_get_subject_name(x);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)"Verge, self-signed", -1,
                               -1, 0);
    CHECK(X509_set_issuer_name(x, name) && X509_set_pubkey(x, key));
    add_names(x, hosts, host_count);
    CHECK(X509_sign(x, key, EVP_sha256()));
    return x;
}

struct tls_context *tls_context_self_signed(const struct slice *hosts, size_t host_count)
{
    struct tls_context *c = context_new();
    EVP_PKEY *key = new_key();
    X509 *x = new_certificate(key, hosts, host_count);
    CHECK(SSL_CTX_use_certificate(c->ssl, x) && SSL_CTX_use_PrivateKey(c->ssl, key));
    X509_free(x);
    EVP_PKEY_free(key);
    return c;
}
