#include "edge/io/tls_connector.h"

#include <openssl/err.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <unistd.h>

#include "edge/base/check.h"
#include "edge/base/mem.h"
#include "edge/io/tls_context.h"

struct tls_connector *tls_connector_new(void)
{
    static const uint8_t protocols[] = "\x08http/1.1";
    struct tls_connector *c = xcalloc(1, sizeof *c);
    c->settings = SSL_CTX_new(TLS_method());
    CHECK(c->settings);
    CHECK(SSL_CTX_set_min_proto_version(c->settings, TLS1_2_VERSION));
    CHECK(SSL_CTX_set_strict_cipher_list(c->settings, tls_ciphers));
    CHECK(SSL_CTX_set_alpn_protos(c->settings, protocols, sizeof protocols - 1) == 0);
    SSL_CTX_set_session_cache_mode(c->settings, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(c->settings, tls_keep_session);
    return c;
}

void tls_connector_free(struct tls_connector **free_it)
{
    struct tls_connector *c = *free_it;
    *free_it = NULL;
    if (!c) return;
    SSL_CTX_free(c->settings);
    tls_certificate_free(&c->certificate);
    free(c);
}

/* ---- roots ---- */

static void verify(struct tls_connector *c)
{
    c->verifies = true;
    SSL_CTX_set_verify(c->settings, SSL_VERIFY_PEER, NULL);
}

static bool add_roots(struct tls_connector *c, CRYPTO_BUFFER **roots, size_t count)
{
    X509_STORE *store = SSL_CTX_get_cert_store(c->settings);
    SHA256_CTX sha;
    bool sound = true;
    SHA256_Init(&sha);
    for (size_t i = 0; i < count; i++) {
        X509 *root = X509_parse_from_buffer(roots[i]);
        sound = sound && root && X509_STORE_add_cert(store, root);
        SHA256_Update(&sha, CRYPTO_BUFFER_data(roots[i]), CRYPTO_BUFFER_len(roots[i]));
        X509_free(root);
    }
    SHA256_Final(c->roots, &sha);
    return sound;
}

static const char *trust(struct tls_connector *c, const char *roots_path, size_t *count)
{
    CRYPTO_BUFFER **roots = NULL;
    const char *why = tls_certificates_read(roots_path, &roots, count);
    if (!add_roots(c, roots, *count) && !why) why = "has a certificate that cannot be a root";
    for (size_t i = 0; i < *count; i++) CRYPTO_BUFFER_free(roots[i]);
    free(roots);
    ERR_clear_error();
    verify(c);
    return why;
}

const char *tls_connector_trust(struct tls_connector *c, const char *roots_path)
{
    size_t count = 0;
    return trust(c, roots_path, &count);
}

/* Where distributions put them. */
static const char *find_system_roots(void)
{
    static const char *const paths[] = {
        "/etc/ssl/certs/ca-certificates.crt",                /* Debian, Arch, Gentoo */
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", /* Fedora, RHEL */
        "/etc/ssl/ca-bundle.pem",                            /* openSUSE */
        "/etc/pki/tls/certs/ca-bundle.crt",                  /* older Fedora */
        "/etc/ssl/cert.pem",                                 /* Alpine */
    };
    const char *named = getenv("SSL_CERT_FILE");
    if (named) return named;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        if (access(paths[i], R_OK) == 0) return paths[i];
    }
    return NULL;
}

const char *tls_connector_trust_system(struct tls_connector *c)
{
    const char *path = find_system_roots();
    verify(c);
    size_t count = 0;
    const char *why = path ? trust(c, path, &count) : "are not where this system might have them";
    return count ? NULL : why; /* nobody here can mend that file */
}

void tls_connector_trust_same(struct tls_connector *c, const struct tls_connector *other)
{
    X509_STORE *store = SSL_CTX_get_cert_store(other->settings);
    X509_STORE_up_ref(store);
    SSL_CTX_set_cert_store(c->settings, store);
    memcpy(c->roots, other->roots, sizeof c->roots);
    verify(c);
}

/* ---- the client's own certificate ---- */

const char *tls_connector_show(struct tls_connector *c, const char *certificate_path,
                               const char *key_path, const char **doubt)
{
    struct tls_certificate *own = &c->certificate;
    const char *why = tls_certificate_load(own, certificate_path, key_path);
    if (why) return why;
    *doubt = tls_certificate_doubt(own, NULL, 0);
    CHECK(SSL_CTX_set_chain_and_key(c->settings, own->chain, own->chain_count, own->key, NULL));
    return NULL;
}

/* ---- the same? ---- */

static bool same_chain(const struct tls_certificate *a, const struct tls_certificate *b)
{
    if (a->chain_count != b->chain_count) return false;
    for (size_t i = 0; i < a->chain_count; i++) {
        const CRYPTO_BUFFER *x = a->chain[i], *y = b->chain[i];
        size_t n = CRYPTO_BUFFER_len(x);
        if (n != CRYPTO_BUFFER_len(y) || memcmp(CRYPTO_BUFFER_data(x), CRYPTO_BUFFER_data(y), n))
            return false;
    }
    return true;
}

bool tls_connector_eq(const struct tls_connector *a, const struct tls_connector *b)
{
    if (!a || !b) return a == b;
    return a->verifies == b->verifies && memcmp(a->roots, b->roots, sizeof a->roots) == 0 &&
           same_chain(&a->certificate, &b->certificate);
}
