#include "edge/io/tls_pem.h"

#include <errno.h>
#include <openssl/base64.h>
#include <openssl/mem.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "edge/base/mem.h"
#include "edge/base/slice.h"

#define FILE_BYTES_MAX (16 << 20)
#define REMNANT_BYTES  40 /* of base64 outside a block: no sentence has a word of that length */

const char *tls_pem_say(const char *format, ...)
{
    static _Thread_local char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return text;
}

/* ---- lines ---- */

struct lines {
    struct slice rest;
    unsigned number; /* of the line that was taken last */
};

static bool next_line(struct lines *l, struct slice *line)
{
    if (l->rest.n == 0) return false;
    size_t n = slice_find(l->rest, '\n');
    *line = slice_of(l->rest.p, n);
    l->rest = slice_skip(l->rest, n < l->rest.n ? n + 1 : n);
    while (line->n && (line->p[line->n - 1] == '\r' || line->p[line->n - 1] == ' ')) line->n--;
    l->number++;
    return true;
}

static bool is_base64(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = ascii_lower(s.p[i]);
        bool known = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
        if (!known && c != '=') return false;
    }
    return true;
}

/* "-----BEGIN LABEL-----" */
static bool read_boundary(struct slice line, struct slice prefix, struct slice *label)
{
    struct slice dashes = SLICE("-----");
    if (!slice_starts(line, prefix) || line.n < prefix.n + dashes.n) return false;
    *label = slice_of(line.p + prefix.n, line.n - prefix.n - dashes.n);
    return slice_eq(slice_of(line.p + line.n - dashes.n, dashes.n), dashes);
}

/* ---- blocks ---- */

static const struct {
    struct slice label;
    enum tls_pem_kind kind;
} labels[] = {
    { SLICE("CERTIFICATE"), TLS_PEM_CERTIFICATE },
    { SLICE("X509 CERTIFICATE"), TLS_PEM_CERTIFICATE },
    { SLICE("PRIVATE KEY"), TLS_PEM_KEY },
    { SLICE("RSA PRIVATE KEY"), TLS_PEM_KEY },
    { SLICE("EC PRIVATE KEY"), TLS_PEM_KEY },
    { SLICE("ENCRYPTED PRIVATE KEY"), TLS_PEM_ENCRYPTED_KEY },
    { SLICE("EC PARAMETERS"), TLS_PEM_PARAMETERS },
    { SLICE("DH PARAMETERS"), TLS_PEM_PARAMETERS },
};

static bool find_kind(struct slice label, enum tls_pem_kind *kind)
{
    for (size_t i = 0; i < sizeof labels / sizeof *labels; i++) {
        if (!slice_eq(label, labels[i].label)) continue;
        *kind = labels[i].kind;
        return true;
    }
    return false;
}

/* Of a block's lines up to its end, appended to text. NULL, or what is wrong. RFC 1421's header,
 * for keys only, says that they are encrypted. */
static const char *gather(struct lines *l, struct slice label, struct tls_pem_block *b, FILE *text)
{
    struct slice line, end;
    while (next_line(l, &line)) {
        if (read_boundary(line, SLICE("-----END "), &end)) {
            if (slice_eq(end, label)) return NULL;
            break;
        }
        if (slice_starts(line, SLICE("-----"))) break;
        if (slice_starts(line, SLICE("Proc-Type:"))) {
            b->kind = TLS_PEM_ENCRYPTED_KEY;
        } else if (is_base64(line)) {
            fwrite(line.p, 1, line.n, text);
        } else if (b->kind != TLS_PEM_ENCRYPTED_KEY) {
            return tls_pem_say("has something else than base64 in line %u", l->number);
        }
    }
    return tls_pem_say("is cut: the block that begins in line %u has no end", b->line);
}

static const char *decode(struct tls_pem_block *b, const char *text, size_t n)
{
    size_t most = 0;
    if (b->kind == TLS_PEM_ENCRYPTED_KEY) return NULL;
    if (EVP_DecodedLength(&most, n)) b->der = xmalloc(most + 1);
    if (b->der && n && EVP_DecodeBase64(b->der, &b->der_bytes, most, (const uint8_t *)text, n))
        return NULL;
    return tls_pem_say("is cut or damaged: the block that begins in line %u is not whole", b->line);
}

static const char *read_block(struct lines *l, struct slice label, struct tls_pem_block *b)
{
    char *text = NULL;
    size_t n = 0;
    if (!find_kind(label, &b->kind))
        return tls_pem_say("has a block in line %u that is neither certificate nor key: \"%.*s\"",
                           l->number, (int)(label.n < 80 ? label.n : 80), label.p);
    FILE *out = open_memstream(&text, &n);
    if (!out) return "cannot be read: no memory";
    const char *why = gather(l, label, b, out);
    fclose(out);
    if (!why) why = decode(b, text, n);
    free(text);
    return why;
}

static const char *take_block(struct tls_pem *pem, struct lines *l, struct slice label)
{
    pem->blocks = xrealloc(pem->blocks, (pem->count + 1) * sizeof *pem->blocks);
    struct tls_pem_block *b = &pem->blocks[pem->count++];
    *b = (struct tls_pem_block){ .line = l->number };
    return read_block(l, label, b);
}

static const char *read_all(struct tls_pem *pem, struct slice text)
{
    struct lines l = { .rest = text };
    struct slice line, label;
    unsigned loose = 0; /* a line of text since the last block */
    while (next_line(&l, &line)) {
        if (read_boundary(line, SLICE("-----BEGIN "), &label)) {
            const char *why = take_block(pem, &l, label);
            if (why) return why;
            loose = 0;
        } else if (slice_starts(line, SLICE("-----")) ||
                   (line.n >= REMNANT_BYTES && is_base64(line))) {
            return tls_pem_say("has a piece of a block in line %u, without its beginning",
                               l.number);
        } else if (line.n && !loose) {
            loose = l.number;
        }
    }
    if (loose && pem->count)
        return tls_pem_say("has something behind its last block, in line %u", loose);
    return NULL;
}

/* ---- the file ---- */

static const char *read_file(const char *path, char **text, size_t *n)
{
    FILE *in = fopen(path, "re");
    if (!in) return tls_pem_say("cannot be read: %s", strerror(errno));
    *text = xmalloc(FILE_BYTES_MAX + 1);
    *n = fread(*text, 1, FILE_BYTES_MAX + 1, in);
    int error = ferror(in) ? errno : 0;
    fclose(in);
    if (error) return tls_pem_say("cannot be read: %s", strerror(error));
    return *n > FILE_BYTES_MAX ? "is larger than 16 MiB" : NULL;
}

const char *tls_pem_read(struct tls_pem *pem, const char *path)
{
    char *text = NULL;
    size_t n = 0;
    *pem = (struct tls_pem){ 0 };
    const char *why = read_file(path, &text, &n);
    if (!why) why = read_all(pem, slice_of(text, n));
    if (text) OPENSSL_cleanse(text, n);
    free(text);
    return why;
}

void tls_pem_free(struct tls_pem *pem)
{
    for (size_t i = 0; i < pem->count; i++) {
        struct tls_pem_block *b = &pem->blocks[i];
        if (b->der) OPENSSL_cleanse(b->der, b->der_bytes);
        free(b->der);
    }
    free(pem->blocks);
    *pem = (struct tls_pem){ 0 };
}
