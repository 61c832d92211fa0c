#include "edge/io/tls_tickets.h"

#include <openssl/mem.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "edge/base/mem.h"

#define ROTATION_MS (12 * 3600 * 1000) /* until it is configured */

static struct {
    pthread_mutex_t lock;
    struct tls_ticket_key *keys; /* of files, the first seals; NULL: random ones */
    size_t count;
    struct tls_ticket_key present, former; /* random */
    bool has_present, has_former;
    int64_t made_ms, rotation_ms; /* present since; changes after */
} tickets = { .lock = PTHREAD_MUTEX_INITIALIZER, .rotation_ms = ROTATION_MS };

/* ---- files ---- */

static void take_key(struct tls_ticket_key *key, const uint8_t *bytes, size_t n)
{
    uint8_t *to[] = { key->aes, key->hmac };
    bool large = n == 80; /* there HMAC's comes first */
    key->secret_bytes = large ? 32 : 16;
    memcpy(key->name, bytes, sizeof key->name);
    memcpy(to[large], bytes + 16, key->secret_bytes);
    memcpy(to[!large], bytes + 16 + key->secret_bytes, key->secret_bytes);
}

const char *tls_ticket_key_load(struct tls_ticket_key *key, const char *path)
{
    uint8_t bytes[81];
    FILE *in = fopen(path, "re");
    if (!in) return "cannot be read";
    size_t n = fread(bytes, 1, sizeof bytes, in);
    bool failed = ferror(in);
    fclose(in);
    *key = (struct tls_ticket_key){ 0 };
    if (n == 48 || n == 80) take_key(key, bytes, n);
    OPENSSL_cleanse(bytes, sizeof bytes);
    if (failed) return "cannot be read";
    return key->secret_bytes ? NULL : "does not have the 48 or 80 bytes of a ticket key";
}

/* ---- the present keys; all with the lock held ---- */

static void drop_files(void)
{
    if (tickets.keys) OPENSSL_cleanse(tickets.keys, tickets.count * sizeof *tickets.keys);
    free(tickets.keys);
    tickets.keys = NULL;
    tickets.count = 0;
}

static void drop_random(void)
{
    OPENSSL_cleanse(&tickets.present, sizeof tickets.present);
    OPENSSL_cleanse(&tickets.former, sizeof tickets.former);
    tickets.has_present = tickets.has_former = false;
}

static void make_random(struct tls_ticket_key *key)
{
    RAND_bytes(key->name, sizeof key->name);
    RAND_bytes(key->hmac, sizeof key->hmac);
    RAND_bytes(key->aes, sizeof key->aes);
    key->secret_bytes = 32;
}

/* Whoever needs a key looks whether it is time for another: a node that nobody visits need not. */
static void rotate(int64_t now_ms)
{
    int64_t age_ms = now_ms - tickets.made_ms;
    if (tickets.has_present && age_ms < tickets.rotation_ms) return;
    tickets.has_former = tickets.has_present && age_ms < 2 * tickets.rotation_ms;
    tickets.former = tickets.present;
    make_random(&tickets.present);
    tickets.has_present = true;
    tickets.made_ms = now_ms;
}

static bool is_named(const struct tls_ticket_key *key, const uint8_t *name)
{
    return memcmp(key->name, name, sizeof key->name) == 0;
}

static const struct tls_ticket_key *find(const uint8_t *name)
{
    for (size_t i = 0; i < tickets.count; i++) {
        if (is_named(&tickets.keys[i], name)) return &tickets.keys[i];
    }
    if (tickets.keys) return NULL;
    if (is_named(&tickets.present, name)) return &tickets.present;
    return tickets.has_former && is_named(&tickets.former, name) ? &tickets.former : NULL;
}

static const struct tls_ticket_key *newest_key(void)
{
    return tickets.keys ? &tickets.keys[0] : &tickets.present;
}

/* ---- from outside ---- */

void tls_tickets_configure(const struct tls_ticket_key *keys, size_t count, int64_t rotation_ms)
{
    pthread_mutex_lock(&tickets.lock);
    drop_files();
    tickets.rotation_ms = rotation_ms;
    if (count) {
        drop_random();
        tickets.keys = xmalloc(count * sizeof *keys);
        memcpy(tickets.keys, keys, count * sizeof *keys);
        tickets.count = count;
    }
    pthread_mutex_unlock(&tickets.lock);
}

void tls_tickets_seal(int64_t now_ms, struct tls_ticket_key *key)
{
    pthread_mutex_lock(&tickets.lock);
    if (!tickets.keys) rotate(now_ms);
    *key = *newest_key();
    pthread_mutex_unlock(&tickets.lock);
}

bool tls_tickets_open(int64_t now_ms, const uint8_t name[TLS_TICKET_NAME_BYTES],
                      struct tls_ticket_key *key, bool *newest)
{
    pthread_mutex_lock(&tickets.lock);
    if (!tickets.keys) rotate(now_ms);
    const struct tls_ticket_key *found = find(name);
    if (found) *key = *found;
    *newest = found == newest_key();
    pthread_mutex_unlock(&tickets.lock);
    return found;
}

void tls_tickets_forget(void)
{
    pthread_mutex_lock(&tickets.lock);
    drop_files();
    drop_random();
    pthread_mutex_unlock(&tickets.lock);
}
