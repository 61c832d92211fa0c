#include "edge/io/tls_certificate.h"

#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include "edge/base/check.h"
#include "edge/base/mem.h"
#include "edge/io/tls_pem.h"

#define SELF_SIGNED_DAYS 30

/* ---- from files ---- */

static void append(CRYPTO_BUFFER ***chain, size_t *count, const uint8_t *der, size_t n)
{
    *chain = xrealloc(*chain, (*count + 1) * sizeof **chain);
    (*chain)[*count] = CRYPTO_BUFFER_new(der, n, NULL);
    CHECK((*chain)[*count]);
    ++*count;
}

static X509 *parse(const struct tls_pem_block *b)
{
    CRYPTO_BUFFER *encoded = CRYPTO_BUFFER_new(b->der, b->der_bytes, NULL);
    X509 *x = encoded ? X509_parse_from_buffer(encoded) : NULL;
    CRYPTO_BUFFER_free(encoded);
    ERR_clear_error();
    return x;
}

static size_t count_kind(const struct tls_pem *pem, enum tls_pem_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < pem->count; i++) n += pem->blocks[i].kind == kind;
    return n;
}

static const char *take_certificates(const struct tls_pem *pem, CRYPTO_BUFFER ***chain,
                                     size_t *count)
{
    for (size_t i = 0; i < pem->count; i++) {
        const struct tls_pem_block *b = &pem->blocks[i];
        if (b->kind != TLS_PEM_CERTIFICATE) continue;
        X509 *x = parse(b);
        if (!x) return tls_pem_say("has a block in line %u that is no certificate", b->line);
        X509_free(x);
        append(chain, count, b->der, b->der_bytes);
    }
    if (*count) return NULL;
    return count_kind(pem, TLS_PEM_KEY) + count_kind(pem, TLS_PEM_ENCRYPTED_KEY)
               ? "has a private key and no certificate"
               : "has no PEM certificate";
}

const char *tls_certificates_read(const char *path, CRYPTO_BUFFER ***chain, size_t *count)
{
    struct tls_pem pem;
    const char *why = tls_pem_read(&pem, path);
    if (!why) why = take_certificates(&pem, chain, count);
    tls_pem_free(&pem);
    return why;
}

/* ---- a key ---- */

static const char *take_key(const struct tls_pem *pem, EVP_PKEY **key)
{
    for (size_t i = 0; i < pem->count; i++) {
        const struct tls_pem_block *b = &pem->blocks[i];
        const uint8_t *der = b->der;
        if (b->kind == TLS_PEM_ENCRYPTED_KEY)
            return tls_pem_say("has an encrypted key in line %u, and nobody is asked for its "
                               "passphrase: decrypt it with \"openssl pkey\"",
                               b->line);
        if (b->kind != TLS_PEM_KEY) continue;
        if (*key) return tls_pem_say("has a second private key in line %u", b->line);
        *key = d2i_AutoPrivateKey(NULL, &der, (long)b->der_bytes);
        if (!*key || der != b->der + b->der_bytes)
            return tls_pem_say("has a block in line %u that is no private key", b->line);
    }
    if (*key) return NULL;
    return count_kind(pem, TLS_PEM_CERTIFICATE) ? "has a certificate and no private key"
                                                : "has no PEM private key";
}

/* The text says whose it is. */
static const char *read_key(const char *path, bool of_its_own, EVP_PKEY **key)
{
    struct tls_pem pem;
    char text[400];
    const char *why = tls_pem_read(&pem, path);
    if (!why) why = take_key(&pem, key);
    tls_pem_free(&pem);
    if (!why || !of_its_own) return why;
    snprintf(text, sizeof text, "%s", why);
    return tls_pem_say("has a key file, \"%s\", that %s", path, text);
}

/* ---- do they belong together? ---- */

static X509 *certificate_at(const struct tls_certificate *c, size_t i)
{
    X509 *x = X509_parse_from_buffer(c->chain[i]);
    CHECK(x); /* it was when it was read */
    return x;
}

static bool belongs(const struct tls_certificate *c, size_t i)
{
    X509 *x = certificate_at(c, i);
    EVP_PKEY *key = X509_get_pubkey(x);
    bool same = key && EVP_PKEY_cmp(key, c->key) == 1;
    EVP_PKEY_free(key);
    X509_free(x);
    ERR_clear_error();
    return same;
}

static const char *check_leaf(const struct tls_certificate *c)
{
    if (belongs(c, 0)) return NULL;
    for (size_t i = 1; i < c->chain_count; i++) {
        if (belongs(c, i))
            return tls_pem_say("is in the wrong order: the key's certificate is number %zu in it, "
                               "and has to be the first",
                               i + 1);
    }
    return "does not belong to the key";
}

/* Each is vouched for by the one behind it (RFC 5246 section 7.4.2). */
static const char *check_order(const struct tls_certificate *c)
{
    for (size_t i = 1; i < c->chain_count; i++) {
        X509 *x = certificate_at(c, i - 1), *issuer = certificate_at(c, i);
        bool follows = X509_NAME_cmp(X509_get_issuer_name(x), X509_get_subject_name(issuer)) == 0;
        X509_free(x);
        X509_free(issuer);
        if (!follows)
            return tls_pem_say("is in the wrong order: certificate number %zu in it is not by "
                               "number %zu, which stands behind it",
                               i, i + 1);
    }
    return NULL;
}

/* Whether a session will take them. */
static bool fits(const struct tls_certificate *c)
{
    SSL_CTX *trial = SSL_CTX_new(TLS_method());
    CHECK(trial);
    bool ok = SSL_CTX_set_chain_and_key(trial, c->chain, c->chain_count, c->key, NULL);
    SSL_CTX_free(trial);
    return ok;
}

static bool note_kind(struct tls_certificate *c)
{
    if (EVP_PKEY_id(c->key) == EVP_PKEY_RSA) return true;
    if (EVP_PKEY_id(c->key) != EVP_PKEY_EC) return false;
    const EC_KEY *ec = EVP_PKEY_get0_EC_KEY(c->key);
    switch (EC_GROUP_get_curve_name(EC_KEY_get0_group(ec))) {
    case NID_X9_62_prime256v1: c->signature = SSL_SIGN_ECDSA_SECP256R1_SHA256; break;
    case NID_secp384r1: c->signature = SSL_SIGN_ECDSA_SECP384R1_SHA384; break;
    case NID_secp521r1: c->signature = SSL_SIGN_ECDSA_SECP521R1_SHA512; break;
    }
    return c->signature;
}

static const char *load(struct tls_certificate *c, const char *certificate_path,
                        const char *key_path)
{
    const char *why = tls_certificates_read(certificate_path, &c->chain, &c->chain_count);
    if (!why) why = read_key(key_path, strcmp(certificate_path, key_path) != 0, &c->key);
    if (why) return why;
    if (!note_kind(c)) return "has a key that is neither RSA nor ECDSA on P-256, P-384 or P-521";
    why = check_leaf(c);
    if (!why) why = check_order(c);
    if (why) return why;
    return fits(c) ? NULL : "is not for signing";
}

const char *tls_certificate_load(struct tls_certificate *c, const char *certificate_path,
                                 const char *key_path)
{
    *c = (struct tls_certificate){ 0 };
    const char *why = load(c, certificate_path, key_path);
    ERR_clear_error();
    if (why) tls_certificate_free(c);
    return why;
}

void tls_certificate_free(struct tls_certificate *c)
{
    for (size_t i = 0; i < c->chain_count; i++) CRYPTO_BUFFER_free(c->chain[i]);
    free(c->chain);
    EVP_PKEY_free(c->key);
    *c = (struct tls_certificate){ 0 };
}

/* ---- doubts ---- */

static const char *doubt_time(const X509 *x)
{
    if (X509_cmp_current_time(X509_get0_notAfter(x)) < 0) return "has expired";
    if (X509_cmp_current_time(X509_get0_notBefore(x)) > 0) return "is not valid yet";
    return NULL;
}

/* A certificate for *.a.example is for any name just below that. */
static bool is_for(X509 *x, struct slice host)
{
    char name[256];
    bool star = slice_starts(host, SLICE("*."));
    struct slice rest = star ? slice_skip(host, 1) : host;
    int n = snprintf(name, sizeof name, "%s%.*s", star ? "any" : "", SLICE_ARGS(rest));
    return n > 0 && (size_t)n < sizeof name && X509_check_host(x, name, (size_t)n, 0, NULL) == 1;
}

static const char *doubt_names(X509 *x, const struct slice *hosts, size_t host_count)
{
    for (size_t i = 0; i < host_count; i++) {
        if (slice_eq(hosts[i], SLICE("*")) || is_for(x, hosts[i])) continue;
        return tls_pem_say("is not for %.*s, which this site answers for", SLICE_ARGS(hosts[i]));
    }
    return NULL;
}

const char *tls_certificate_doubt(const struct tls_certificate *c, const struct slice *hosts,
                                  size_t host_count)
{
    X509 *x = certificate_at(c, 0);
    const char *why = doubt_time(x);
    if (!why) why = doubt_names(x, hosts, host_count);
    X509_free(x);
    return why;
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

static void append_encoded(struct tls_certificate *c, X509 *x)
{
    uint8_t *der = NULL;
    int n = i2d_X509(x, &der);
    CHECK(n > 0);
    append(&c->chain, &c->chain_count, der, (size_t)n);
    OPENSSL_free(der);
}

void tls_certificate_self_signed(struct tls_certificate *c, const struct slice *hosts,
                                 size_t host_count)
{
    *c = (struct tls_certificate){ .key = new_key() };
    X509 *x = new_certificate(c->key, hosts, host_count);
    CHECK(note_kind(c));
    append_encoded(c, x);
    X509_free(x);
}
