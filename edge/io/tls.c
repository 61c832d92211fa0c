#include "edge/io/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>

#include "edge/base/check.h"
#include "edge/base/mem.h"
#include "edge/base/metrics.h"
#include "edge/io/tls_context.h"

#define SMALL_RECORD_BYTES 1360        /* fits into one packet with all headers */
#define SMALL_UNTIL_BYTES  (32 * 1024) /* of a session; from then on records are full */

/* A handshake, or a small response; and all records of one send, the last of which may begin just
 * before its end. */
#define SMALL_BLOCK_BYTES 8192
#define LARGE_BLOCK_BYTES (TLS_OUTPUT_BYTES + TLS_RECORD_BYTES + 1024)

struct tls {
    SSL *ssl;
    struct slice in;
    struct block *out, *sending; /* made, and being sent */
    size_t out_n, sending_at, sending_n;
    uint64_t written_bytes;
    struct tls_hello hello;
    bool counted;
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

struct tls *tls_accept(unsigned protocols, tls_select select, const void *user)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, prepare_library);
    struct tls *t = xcalloc(1, sizeof *t);
    t->hello = (struct tls_hello){ .protocols = protocols, .select = select, .user = user };
    t->ssl = SSL_new(settings);
    BIO *bio = t->ssl ? bio_new(t) : NULL;
    if (!bio) {
        tls_free(&t);
        return NULL;
    }
    SSL_set_bio(t->ssl, bio, bio);
    tls_hello_attach(&t->hello, t->ssl);
    SSL_set_accept_state(t->ssl);
    SSL_set_mode(t->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_set_shed_handshake_config(t->ssl, 1);
    return t;
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
    if (t->out) block_release(t->out);
    if (t->sending) block_release(t->sending);
    free(t);
}

/* ---- bytes ---- */

void tls_feed(struct tls *t, struct slice ciphertext)
{
    t->in = ciphertext;
}

static void count_handshake(struct tls *t)
{
    if (t->counted || SSL_in_init(t->ssl)) return;
    t->counted = true;
    metric_add(SSL_session_reused(t->ssl) ? METRIC_TLS_RESUMED : METRIC_TLS_FULL, 1);
}

/* What a result of n <= 0 means. */
static int judge(struct tls *t, int n)
{
    int why = SSL_get_error(t->ssl, n);
    ERR_clear_error();
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) return TLS_MORE;
    if (why == SSL_ERROR_ZERO_RETURN) return TLS_END;
    if (!t->counted) metric_add(METRIC_TLS_FAILED, 1);
    t->counted = true;
    return TLS_FAILED;
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
    count_handshake(t);
    return n > 0 ? n : judge(t, n);
}

ssize_t tls_write(struct tls *t, struct slice bytes)
{
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
