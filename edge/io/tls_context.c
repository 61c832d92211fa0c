#include "edge/io/tls_context.h"

#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdlib.h>

#include "edge/base/check.h"
#include "edge/base/mem.h"

struct tls_context *tls_context_new(void)
{
    struct tls_context *c = xcalloc(1, sizeof *c);
    atomic_init(&c->references, 1);
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
    for (size_t i = 0; i < c->certificate_count; i++) tls_certificate_free(&c->certificates[i]);
    X509_STORE_free(c->client_roots);
    sk_CRYPTO_BUFFER_pop_free(c->client_names, CRYPTO_BUFFER_free);
    free(c);
}

/* ---- certificates ---- */

/* Elliptic curves first: a signature costs a fortieth of RSA's. */
static const char *add(struct tls_context *c, struct tls_certificate *new)
{
    size_t n = c->certificate_count;
    bool ecdsa = new->signature;
    if (n == TLS_CERTIFICATES || (n && ecdsa == !!c->certificates[0].signature)) {
        tls_certificate_free(new);
        return ecdsa ? "is a second one with an ECDSA key" : "is a second one with an RSA key";
    }
    if (n && ecdsa) c->certificates[n] = c->certificates[0];
    c->certificates[ecdsa ? 0 : n] = *new;
    c->certificate_count++;
    return NULL;
}

const char *tls_context_add(struct tls_context *c, const char *certificate_path,
                            const char *key_path, const struct slice *hosts, size_t host_count,
                            const char **doubt)
{
    struct tls_certificate new;
    const char *why = tls_certificate_load(&new, certificate_path, key_path);
    if (why) return why;
    *doubt = tls_certificate_doubt(&new, hosts, host_count);
    return add(c, &new);
}

const char *tls_context_add_self_signed(struct tls_context *c, const struct slice *hosts,
                                        size_t host_count)
{
    struct tls_certificate new;
    tls_certificate_self_signed(&new, hosts, host_count);
    return add(c, &new);
}

/* ---- clients ---- */

/* The name of a root, as it is sent to clients. */
static CRYPTO_BUFFER *name_of(X509 *root)
{
    uint8_t *der = NULL;
    int n = i2d_X509_NAME(X509_get_subject_name(root), &der);
    CHECK(n > 0);
    CRYPTO_BUFFER *name = CRYPTO_BUFFER_new(der, (size_t)n, NULL);
    CHECK(name);
    OPENSSL_free(der);
    return name;
}

static bool trust(struct tls_context *c, CRYPTO_BUFFER *encoded)
{
    X509 *root = X509_parse_from_buffer(encoded);
    if (!root) return false;
    CHECK(X509_STORE_add_cert(c->client_roots, root));
    CHECK(sk_CRYPTO_BUFFER_push(c->client_names, name_of(root)));
    X509_free(root);
    return true;
}

/* Into what sets a site's sessions apart goes whom it trusts: a session of before one of its roots
 * was taken away is not resumed. */
static void add_to_site(struct tls_context *c, const void *bytes, size_t n)
{
    SHA256_CTX sha;
    SHA256_Init(&sha);
    SHA256_Update(&sha, c->site, sizeof c->site);
    SHA256_Update(&sha, bytes, n);
    SHA256_Final(c->site, &sha);
}

const char *tls_context_ask_clients(struct tls_context *c, const char *roots_path, bool required)
{
    CRYPTO_BUFFER **roots = NULL;
    size_t count = 0;
    const char *why = tls_certificates_read(roots_path, &roots, &count);
    c->client_required = required;
    c->client_roots = X509_STORE_new();
    c->client_names = sk_CRYPTO_BUFFER_new_null();
    CHECK(c->client_roots && c->client_names);
    add_to_site(c, required ? "required" : "optional", 8);
    for (size_t i = 0; i < count; i++) {
        CHECK(trust(c, roots[i]));
        add_to_site(c, CRYPTO_BUFFER_data(roots[i]), CRYPTO_BUFFER_len(roots[i]));
        CRYPTO_BUFFER_free(roots[i]);
    }
    free(roots);
    ERR_clear_error();
    return why;
}

void tls_context_show_clients(struct tls_context *c)
{
    c->client_shown = true;
}

void tls_context_allow_early_data(struct tls_context *c)
{
    c->early_data = true;
}

void tls_context_name(struct tls_context *c, const struct slice *hosts, size_t host_count)
{
    for (size_t i = 0; i < host_count; i++) add_to_site(c, hosts[i].p, hosts[i].n);
}

const uint8_t *tls_context_site(const struct tls_context *c)
{
    return c->site;
}

bool tls_context_asks_clients(const struct tls_context *c)
{
    return c->client_roots;
}
