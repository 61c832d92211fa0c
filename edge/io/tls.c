#include "edge/io/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>

#include "edge/base/check.h"
#include "edge/base/mem.h"
#include "edge/base/metrics.h"
#include "edge/io/tls_connector.h"
#include "edge/io/tls_context.h"

#define SMALL_RECORD_BYTES 1360        /* fits into one packet with all headers */
#define SMALL_UNTIL_BYTES  (32 * 1024) /* without a pause; from then on records are full */
#define PAUSE_MS           1000        /* after which the network is slow to begin again */

/* A handshake, or a small response; and all records of one send, the last of which may begin just
 * before its end. */
#define SMALL_BLOCK_BYTES 8192
#define LARGE_BLOCK_BYTES (TLS_OUTPUT_BYTES + TLS_RECORD_BYTES + 1024)

struct tls {
    SSL *ssl;
    struct slice in;
    struct block *out, *sending; /* made, and being sent */
    size_t out_n, sending_at, sending_n;
    uint64_t written_bytes; /* without a pause */
    int64_t written_ms;
    struct block *kept;     /* holds in, where it is not the caller's */
    struct tls_hello hello; /* a server's */
    bool client, counted;
    SSL_SESSION *session; /* a client's, for the next one */
    const char *failure;
    bool distrust;
};

/* ---- BoringSSL's view of a socket ---- */

static int bio_read(BIO *bio, char *to, int room)
{
    struct tls *t = BIO_get_data(bio);
    size_t n = t->in.n < (size_t)room ? t->in.n : (size_t)room;
    BIO_clear_retry_flags(bio);
    if (n == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(to, t->in.p, n);
    t->in = slice_skip(t->in, n);
    return (int)n;
}

static bool make_room(struct tls *t, size_t n)
{
    if (t->out && t->out->size_bytes - t->out_n >= n) return true;
    size_t size = n <= SMALL_BLOCK_BYTES / 2 ? SMALL_BLOCK_BYTES : LARGE_BLOCK_BYTES;
    while (size < t->out_n + n) size *= 2;
    struct block *b = block_new(size);
    if (!b) return false;
    if (t->out_n) memcpy(b->data, t->out->data, t->out_n);
    if (t->out) block_release(t->out);
    t->out = b;
    return true;
}

static int bio_write(BIO *bio, const char *from, int n)
{
    struct tls *t = BIO_get_data(bio);
    if (!make_room(t, (size_t)n)) return -1;
    memcpy(t->out->data + t->out_n, from, (size_t)n);
    t->out_n += (size_t)n;
    return n;
}

static long bio_control(BIO *bio, int what, long number, void *pointer)
{
    (void)bio, (void)number, (void)pointer;
    return what == BIO_CTRL_FLUSH;
}

static BIO_METHOD *bio_method;
static SSL_CTX *settings;

static void prepare_library(void)
{
    settings = tls_settings_new();
    bio_method = BIO_meth_new(0, "verge");
    CHECK(bio_method);
    BIO_meth_set_read(bio_method, bio_read);
    BIO_meth_set_write(bio_method, bio_write);
    BIO_meth_set_ctrl(bio_method, bio_control);
}

static BIO *bio_new(struct tls *t)
{
    BIO *bio = BIO_new(bio_method);
    if (!bio) return NULL;
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    return bio;
}

/* ---- life ---- */

static struct tls *tls_new(SSL_CTX *from)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, prepare_library);
    struct tls *t = xcalloc(1, sizeof *t);
    t->ssl = SSL_new(from ? from : settings);
    BIO *bio = t->ssl ? bio_new(t) : NULL;
    if (!bio) {
        tls_free(&t);
        return NULL;
    }
    SSL_set_bio(t->ssl, bio, bio);
    SSL_set_app_data(t->ssl, t);
    SSL_set_mode(t->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_set_shed_handshake_config(t->ssl, 1);
    return t;
}

struct tls *tls_accept(unsigned protocols, tls_select select, const void *user)
{
    struct tls *t = tls_new(NULL);
    if (!t) return NULL;
    t->hello = (struct tls_hello){ .protocols = protocols, .select = select, .user = user };
    tls_hello_attach(&t->hello, t->ssl);
    SSL_set_accept_state(t->ssl);
    return t;
}

/* An address is not told (RFC 6066 section 3), but verified. */
static bool expect(SSL *ssl, const char *name)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, name)) return true;
    ERR_clear_error();
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                               X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    return X509_VERIFY_PARAM_set1_host(param, name, strlen(name)) &&
           SSL_set_tlsext_host_name(ssl, name);
}

struct tls *tls_connect(const struct tls_connector *c, const char *name,
                        const struct ssl_session_st *earlier)
{
    struct tls *t = tls_new(c->settings);
    if (!t) return NULL;
    t->client = true;
    SSL_set_connect_state(t->ssl);
    bool ok = expect(t->ssl, name) &&
              (!earlier || SSL_set_session(t->ssl, (SSL_SESSION *)(uintptr_t)earlier));
    if (!ok) tls_free(&t);
    return t;
}

int tls_keep_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls *t = SSL_get_app_data(ssl);
    SSL_SESSION_free(t->session);
    t->session = session;
    return 1; /* it is ours now */
}

struct ssl_session_st *tls_take_session(struct tls *t)
{
    SSL_SESSION *session = t->session;
    t->session = NULL;
    return session;
}

void tls_session_free(struct ssl_session_st **s)
{
    SSL_SESSION_free(*s);
    *s = NULL;
}

const struct tls_hello *tls_hello(const struct tls *t)
{
    return &t->hello;
}

bool tls_is_early(const struct tls_hello *h)
{
    return SSL_in_early_data(h->ssl);
}

struct slice tls_client_certificate(const struct tls_hello *h)
{
    const STACK_OF(CRYPTO_BUFFER) *chain = SSL_get0_peer_certificates(h->ssl);
    if (!chain || sk_CRYPTO_BUFFER_num(chain) == 0) return SLICE_NONE;
    const CRYPTO_BUFFER *leaf = sk_CRYPTO_BUFFER_value(chain, 0);
    return slice_of((const char *)CRYPTO_BUFFER_data(leaf), CRYPTO_BUFFER_len(leaf));
}

void tls_free(struct tls **free_it)
{
    struct tls *t = *free_it;
    *free_it = NULL;
    if (!t) return;
    SSL_free(t->ssl);
    SSL_SESSION_free(t->session);
    if (t->kept) block_release(t->kept);
    if (t->out) block_release(t->out);
    if (t->sending) block_release(t->sending);
    free(t);
}

/* ---- bytes ---- */

void tls_feed(struct tls *t, struct slice ciphertext)
{
    CHECK(!t->kept);
    t->in = ciphertext;
}

bool tls_keep(struct tls *t)
{
    if (t->in.n == 0 || t->kept) return true;
    t->kept = block_new(t->in.n);
    if (!t->kept) return false;
    memcpy(t->kept->data, t->in.p, t->in.n);
    t->in.p = t->kept->data;
    return true;
}

static void drop_kept(struct tls *t)
{
    if (t->in.n || !t->kept) return;
    block_release(t->kept);
    t->kept = NULL;
}

bool tls_has_unread(const struct tls *t)
{
    return t->in.n || SSL_pending(t->ssl);
}

/* BoringSSL keeps TLS 1.3's tickets for the first write. A client that lets its packets wait for an
 * acknowledgement (Nagle) would hold its request back until our side's delayed one: they leave at
 * once. */
static void send_tickets(struct tls *t)
{
    if (t->client || SSL_version(t->ssl) < TLS1_3_VERSION) return;
    SSL_write(t->ssl, "", 0);
    ERR_clear_error();
}

/* True if it has ended just now. */
static bool count_handshake(struct tls *t)
{
    if (t->counted || SSL_in_init(t->ssl)) return false;
    t->counted = true;
    bool resumed = SSL_session_reused(t->ssl);
    if (t->client)
        metric_add(resumed ? METRIC_ORIGIN_TLS_RESUMED : METRIC_ORIGIN_TLS_FULL, 1);
    else
        metric_add(resumed ? METRIC_TLS_RESUMED : METRIC_TLS_FULL, 1);
    return true;
}

/* Of all that lies in the library's queue the first is the reason. */
static void note_failure(struct tls *t)
{
    long verdict = t->client && t->ssl ? SSL_get_verify_result(t->ssl) : X509_V_OK;
    uint32_t error = ERR_peek_error();
    t->distrust = verdict != X509_V_OK && ERR_GET_REASON(error) == SSL_R_CERTIFICATE_VERIFY_FAILED;
    t->failure = t->distrust ? X509_verify_cert_error_string(verdict)
                 : error     ? ERR_reason_error_string(error)
                             : NULL;
}

const char *tls_failure(const struct tls *t, bool *distrust)
{
    *distrust = t->distrust;
    return t->failure ? t->failure : "the connection ended";
}

/* What a result of n <= 0 means. */
static int judge(struct tls *t, int n)
{
    int why = SSL_get_error(t->ssl, n);
    if (why == SSL_ERROR_SSL) note_failure(t);
    ERR_clear_error();
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) return TLS_MORE;
    if (why == SSL_ERROR_ZERO_RETURN) return TLS_END;
    if (!t->counted) metric_add(t->client ? METRIC_ORIGIN_TLS_FAILED : METRIC_TLS_FAILED, 1);
    t->counted = true;
    return TLS_FAILED;
}

void tls_begin(struct tls *t)
{
    int n = SSL_do_handshake(t->ssl);
    CHECK(n <= 0);
    judge(t, n);
}

int tls_take_hello(struct tls *t)
{
    int n = SSL_do_handshake(t->ssl);
    int rc = n > 0 ? TLS_MORE : judge(t, n);
    return rc == TLS_MORE && t->hello.taken ? 1 : rc;
}

enum tls_protocol tls_protocol(const struct tls *t)
{
    const uint8_t *name;
    unsigned n;
    SSL_get0_alpn_selected(t->ssl, &name, &n);
    return slice_eq(slice_of((const char *)name, n), SLICE("h2")) ? TLS_H2 : TLS_H1;
}

bool tls_in_handshake(const struct tls *t)
{
    return SSL_in_init(t->ssl);
}

int tls_read(struct tls *t, char *to, size_t room)
{
    int n = SSL_read(t->ssl, to, (int)room);
    bool ended = count_handshake(t);
    drop_kept(t);
    if (n <= 0) n = judge(t, n);
    if (ended && n >= TLS_MORE) send_tickets(t);
    return n;
}

ssize_t tls_write(struct tls *t, struct slice bytes, int64_t now_ms)
{
    if (now_ms - t->written_ms > PAUSE_MS) t->written_bytes = 0;
    t->written_ms = now_ms;
    size_t most = t->written_bytes < SMALL_UNTIL_BYTES ? SMALL_RECORD_BYTES : TLS_RECORD_BYTES;
    bool early = SSL_in_early_data(t->ssl); /* answered at once, too */
    if ((SSL_in_init(t->ssl) && !early) || bytes.n == 0) return 0;
    int n = SSL_write(t->ssl, bytes.p, (int)(bytes.n < most ? bytes.n : most));
    if (n <= 0) return judge(t, n) == TLS_MORE ? 0 : -1;
    t->written_bytes += (size_t)n;
    return n;
}

void tls_close(struct tls *t)
{
    if (!SSL_in_init(t->ssl)) SSL_shutdown(t->ssl);
    ERR_clear_error();
}

size_t tls_output_bytes(const struct tls *t)
{
    return t->out_n + t->sending_n - t->sending_at;
}

struct slice tls_output(struct tls *t)
{
    if (!t->sending) {
        t->sending = t->out;
        t->sending_n = t->out_n;
        t->out = NULL;
        t->out_n = t->sending_at = 0;
    }
    if (!t->sending) return SLICE_NONE;
    return slice_of(t->sending->data + t->sending_at, t->sending_n - t->sending_at);
}

void tls_sent(struct tls *t, size_t n)
{
    t->sending_at += n;
    if (t->sending_at < t->sending_n) return;
    block_release(t->sending);
    t->sending = NULL;
    t->sending_at = t->sending_n = 0;
}
