/* What sessions of servers have in common, and how a client's hello decides the rest. Each session
 * gets what its site has from the context that is chosen: certificate, whom it asks for one. */
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <pthread.h>

#include "edge/base/check.h"
#include "edge/base/clock.h"
#include "edge/io/tls_context.h"
#include "edge/io/tls_tickets.h"

/* A session may be resumed for so long, where the key of its ticket is still there. */
#define SESSION_S (24 * 3600)

const char tls_ciphers[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                           "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                           "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

static int hello_index; /* of the struct tls_hello in an SSL */

static void find_index(void)
{
    hello_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    CHECK(hello_index >= 0);
}

static struct tls_hello *hello_of(const SSL *ssl)
{
    return SSL_get_ex_data(ssl, hello_index);
}

void tls_hello_attach(struct tls_hello *h, SSL *ssl)
{
    h->ssl = ssl;
    CHECK(SSL_set_ex_data(ssl, hello_index, h));
}

/* ---- which protocol ---- */

/* RFC 7301: a client that offers protocols, but none that is spoken here, is told so. An HTTP/1.1
 * server speaks HTTP/1.0 too, to a client that offers nothing better. */
static int choose_protocol(SSL *ssl, const uint8_t **out, uint8_t *out_bytes,
                           const uint8_t *offered, unsigned offered_bytes, void *user)
{
    static const struct slice names[] = {
        [TLS_H1] = SLICE("\x08http/1.1\x08http/1.0"),
        [TLS_H2] = SLICE("\x02h2"),
        [TLS_H3] = SLICE("\x02h3"),
        [TLS_H1 | TLS_H2] = SLICE("\x02h2\x08http/1.1\x08http/1.0"),
    };
    (void)user;
    struct slice ours = names[hello_of(ssl)->protocols];
    int rc = SSL_select_next_proto((uint8_t **)out, out_bytes, (const uint8_t *)ours.p,
                                   (unsigned)ours.n, offered, offered_bytes);
    return rc == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* ---- which certificate ---- */

/* The first to see the hello: with TLS 1.2 a certificate needs a cipher of its kind, too. */
static enum ssl_select_cert_result_t note_ciphers(const SSL_CLIENT_HELLO *hello)
{
    struct tls_hello *h = hello_of(hello->ssl);
    CBS suites;
    uint16_t id;
    CBS_init(&suites, hello->cipher_suites, hello->cipher_suites_len);
    while (CBS_get_u16(&suites, &id)) {
        const SSL_CIPHER *cipher = SSL_get_cipher_by_value(id);
        if (!cipher || SSL_CIPHER_get_kx_nid(cipher) != NID_kx_ecdhe) continue;
        h->ecdsa_cipher |= SSL_CIPHER_get_auth_nid(cipher) == NID_auth_ecdsa;
    }
    return ssl_select_cert_success;
}

static bool verifies(const SSL *ssl, uint16_t signature)
{
    const uint16_t *list;
    size_t n = SSL_get0_peer_verify_algorithms(ssl, &list);
    for (size_t i = 0; i < n; i++) {
        if (list[i] == signature) return true;
    }
    return false;
}

/* A certificate with an RSA key is the last resort, so that one is not looked at closely. */
static bool client_takes(const SSL *ssl, const struct tls_certificate *c)
{
    const struct tls_hello *h = hello_of(ssl);
    bool tls13 = SSL_version(ssl) >= TLS1_3_VERSION;
    if (!c->signature) return true;
    return verifies(ssl, c->signature) && (tls13 || h->ecdsa_cipher);
}

static bool show_certificate(SSL *ssl, const struct tls_context *c)
{
    const struct tls_certificate *chosen = &c->certificates[0];
    if (c->certificate_count > 1 && !client_takes(ssl, chosen)) chosen++;
    return SSL_set_chain_and_key(ssl, chosen->chain, chosen->chain_count, chosen->key, NULL);
}

static CRYPTO_BUFFER *share(const CRYPTO_BUFFER *b)
{
    CRYPTO_BUFFER *shared = (CRYPTO_BUFFER *)(uintptr_t)b;
    CRYPTO_BUFFER_up_ref(shared);
    return shared;
}

static bool ask_client(SSL *ssl, const struct tls_context *c)
{
    if (!c->client_roots) return true;
    int mode = SSL_VERIFY_PEER | (c->client_required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);
    STACK_OF(CRYPTO_BUFFER) *names =
        sk_CRYPTO_BUFFER_deep_copy(c->client_names, share, CRYPTO_BUFFER_free);
    if (!names) return false;
    SSL_set0_client_CAs(ssl, names);
    SSL_set_verify(ssl, mode, NULL);
    SSL_set_retain_only_sha256_of_client_certs(ssl, !c->client_shown);
    return SSL_set1_verify_cert_store(ssl, c->client_roots);
}

/* A session is resumed at the same site only (RFC 6066 section 3): another may ask its clients for
 * more. */
static bool use_context(SSL *ssl, const struct tls_context *c)
{
    SSL_set_early_data_enabled(ssl, c->early_data && !c->client_roots);
    return show_certificate(ssl, c) && ask_client(ssl, c) &&
           SSL_set_session_id_context(ssl, c->site, sizeof c->site);
}

static int choose_context(SSL *ssl, int *alert, void *user)
{
    (void)user;
    struct tls_hello *h = hello_of(ssl);
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    struct tls_context *c = h->select(h->user, name ? slice_str(name) : SLICE_NONE);
    h->taken = true;
    *alert = c ? SSL_AD_INTERNAL_ERROR : SSL_AD_UNRECOGNIZED_NAME;
    if (!c || !use_context(ssl, c)) return SSL_TLSEXT_ERR_ALERT_FATAL;
    memcpy(h->site, c->site, sizeof h->site);
    h->asks_client = c->client_roots;
    return SSL_TLSEXT_ERR_OK;
}

/* ---- tickets ---- */

static const EVP_CIPHER *cipher_of(const struct tls_ticket_key *key)
{
    return key->secret_bytes == 16 ? EVP_aes_128_cbc() : EVP_aes_256_cbc();
}

static int seal_ticket(uint8_t *name, uint8_t *iv, EVP_CIPHER_CTX *cipher, HMAC_CTX *hmac)
{
    struct tls_ticket_key key;
    tls_tickets_seal(clock_monotonic_us() / 1000, &key);
    memcpy(name, key.name, sizeof key.name);
    RAND_bytes(iv, EVP_CIPHER_iv_length(cipher_of(&key)));
    bool ok = EVP_EncryptInit_ex(cipher, cipher_of(&key), NULL, key.aes, iv) &&
              HMAC_Init_ex(hmac, key.hmac, key.secret_bytes, EVP_sha256(), NULL);
    OPENSSL_cleanse(&key, sizeof key);
    return ok ? 1 : -1;
}

/* 2 asks for a ticket of the newest key, 0 for a full handshake. */
static int open_ticket(const uint8_t *name, const uint8_t *iv, EVP_CIPHER_CTX *cipher,
                       HMAC_CTX *hmac)
{
    struct tls_ticket_key key;
    bool newest;
    if (!tls_tickets_open(clock_monotonic_us() / 1000, name, &key, &newest)) return 0;
    bool ok = EVP_DecryptInit_ex(cipher, cipher_of(&key), NULL, key.aes, iv) &&
              HMAC_Init_ex(hmac, key.hmac, key.secret_bytes, EVP_sha256(), NULL);
    OPENSSL_cleanse(&key, sizeof key);
    return !ok ? -1 : newest ? 1 : 2;
}

static int use_ticket_key(SSL *ssl, uint8_t *name, uint8_t *iv, EVP_CIPHER_CTX *cipher,
                          HMAC_CTX *hmac, int encrypt)
{
    (void)ssl;
    return encrypt ? seal_ticket(name, iv, cipher, hmac) : open_ticket(name, iv, cipher, hmac);
}

/* ---- all of it ---- */

SSL_CTX *tls_settings_new(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_index);
    SSL_CTX *s = SSL_CTX_new(TLS_method());
    CHECK(s);
    CHECK(SSL_CTX_set_min_proto_version(s, TLS1_2_VERSION));
    CHECK(SSL_CTX_set_strict_cipher_list(s, tls_ciphers));
    SSL_CTX_set_options(s, SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_alpn_select_cb(s, choose_protocol, NULL);
    SSL_CTX_set_select_certificate_cb(s, note_ciphers);
    SSL_CTX_set_tlsext_servername_callback(s, choose_context);
    SSL_CTX_set_session_cache_mode(s, SSL_SESS_CACHE_OFF); /* tickets do */
    SSL_CTX_set_session_psk_dhe_timeout(s, SESSION_S);
    SSL_CTX_set_timeout(s, SESSION_S);
    CHECK(SSL_CTX_set_tlsext_ticket_key_cb(s, use_ticket_key));
    return s;
}
