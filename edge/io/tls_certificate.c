#include "edge/io/tls_certificate.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include "edge/base/check.h"
#include "edge/base/mem.h"

#define SELF_SIGNED_DAYS 30

/* ---- from files ---- */

static void append(CRYPTO_BUFFER ***chain, size_t *count, const uint8_t *der, size_t n)
{
    *chain = xrealloc(*chain, (*count + 1) * sizeof **chain);
    (*chain)[*count] = CRYPTO_BUFFER_new(der, n, NULL);
    CHECK((*chain)[*count]);
    ++*count;
}

bool tls_certificates_read(const char *path, CRYPTO_BUFFER ***chain, size_t *count)
{
    size_t before = *count;
    BIO *in = BIO_new_file(path, "re");
    char *name, *header;
    uint8_t *der;
    long n;
    while (in && PEM_read_bio(in, &name, &header, &der, &n)) {
        if (strcmp(name, PEM_STRING_X509) == 0) append(chain, count, der, (size_t)n);
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_free(der);
    }
    BIO_free(in);
    ERR_clear_error(); /* the end of the file is one */
    return *count > before;
}

static EVP_PKEY *read_key(const char *path)
{
    BIO *in = BIO_new_file(path, "re");
    EVP_PKEY *key = in ? PEM_read_bio_PrivateKey(in, NULL, NULL, NULL) : NULL;
    BIO_free(in);
    return key;
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
    if (!tls_certificates_read(certificate_path, &c->chain, &c->chain_count))
        return "is no readable file with a PEM certificate";
    c->key = read_key(key_path);
    if (!c->key) return "has a key file that is not readable, or has no PEM key";
    if (!note_kind(c)) return "has a key that is neither RSA nor ECDSA on P-256, P-384 or P-521";
    return fits(c) ? NULL : "does not belong to the key, or is not for signing";
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
