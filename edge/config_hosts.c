/* Which site answers: the distinct listeners of a configuration, and for each a hash table of host
 * names. */
#include <stdlib.h>

#include "edge/base/mem.h"
#include "edge/config_builder.h"

#define HOST_MAX_BYTES 255 /* no name that long is configured */

/* An exact name stands for itself, "*.example.com" as ".example.com", "*" as "". So every match is
 * an exact one: of the host, of what begins at one of its dots, of nothing. */
struct config_host {
    struct slice name;
    const struct config_site *site;
};

struct config_hosts {
    const struct config_host *slots; /* site is NULL where one is free; at most half are taken */
    size_t mask;
    const struct config_site *first; /* that listens there, in file order */
};

/* A table entry with the word that made it. */
struct entry {
    struct config_host host;
    const struct conf_word *word;
};

/* Shorter names first: most comparisons end with the length. */
static int compare_names(struct slice a, struct slice b)
{
    if (a.n != b.n) return a.n < b.n ? -1 : 1;
    return a.n ? memcmp(a.p, b.p, a.n) : 0;
}

static int compare_entries(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int order = compare_names(x->host.name, y->host.name);
    if (order) return order;
    return x->word->at.offset < y->word->at.offset ? -1 : 1;
}

static bool listens_on(const struct config_site *site, const struct config_listen *listen)
{
    for (size_t i = 0; i < site->listen_count; i++) {
        if (config_listen_eq(&site->listens[i], listen)) return true;
    }
    return false;
}

/* Two sites may share several listeners; one message is enough. */
static bool share_earlier(const struct config *c, size_t listener, const struct config_site *a,
                          const struct config_site *b)
{
    for (size_t i = 0; i < listener; i++) {
        if (listens_on(a, &c->listens[i]) && listens_on(b, &c->listens[i])) return true;
    }
    return false;
}

static void check_unique(struct config_builder *b, size_t listener, const struct entry *entries,
                         size_t count)
{
    const struct config *c = b->config;
    for (size_t i = 1; i < count; i++) {
        const struct entry *first = &entries[i - 1], *second = &entries[i];
        if (compare_names(first->host.name, second->host.name)) continue;
        if (share_earlier(c, listener, first->host.site, second->host.site)) continue;
        conf_fail(&b->report, second->word->at, NULL,
                  "host \"%.*s\" is on line %u already, for the same listener %.*s",
                  CONF_SHOWN(second->word->text), first->word->line,
                  CONF_SHOWN(c->listens[listener].text));
    }
}

static size_t count_hosts(const struct config *c, const struct config_listen *listen)
{
    size_t count = 0;
    for (size_t i = 0; i < c->site_count; i++) {
        if (listens_on(&c->sites[i], listen)) count += c->sites[i].host_count;
    }
    return count;
}

static void add_entries(const struct config_site_build *build, const struct config_site *site,
                        struct entry *entries)
{
    for (size_t i = 0; i < site->host_count; i++) {
        struct slice name = site->hosts[i];
        if (name.n && name.p[0] == '*') name = slice_skip(name, 1);
        entries[i] = (struct entry){ { name, site }, &build->item->args[i] };
    }
}

/* Where the name is, or would be. */
static size_t slot_of(const struct config_host *slots, size_t mask, struct slice name)
{
    size_t i = key_hash(name) & mask;
    while (slots[i].site && !slice_eq(slots[i].name, name)) i = (i + 1) & mask;
    return i;
}

static struct config_hosts hash_hosts(struct config_builder *b, const struct entry *entries,
                                      size_t count)
{
    size_t size = 4;
    while (size < 2 * count) size *= 2;
    struct config_host *slots = arena_alloc(&b->config->arena, size * sizeof *slots);
    memset(slots, 0, size * sizeof *slots);
    for (size_t i = 0; i < count; i++) {
        slots[slot_of(slots, size - 1, entries[i].host.name)] = entries[i].host;
    }
    return (struct config_hosts){ .slots = slots, .mask = size - 1 };
}

static struct config_hosts build_hosts(struct config_builder *b, size_t listener)
{
    const struct config *c = b->config;
    size_t count = count_hosts(c, &c->listens[listener]), at = 0;
    struct entry *entries = xcalloc(count + 1, sizeof *entries);
    for (size_t i = 0; i < c->site_count; i++) {
        if (!listens_on(&c->sites[i], &c->listens[listener])) continue;
        add_entries(&b->sites[i], &c->sites[i], entries + at);
        at += c->sites[i].host_count;
    }
    const struct config_site *first = count ? entries[0].host.site : NULL;
    qsort(entries, count, sizeof *entries, compare_entries);
    check_unique(b, listener, entries, count);
    struct config_hosts hosts = hash_hosts(b, entries, count);
    hosts.first = first;
    free(entries);
    return hosts;
}

static size_t listener_index(const struct config *c, const struct config_listen *listen)
{
    size_t i = 0;
    while (i < c->listen_count && !config_listen_eq(&c->listens[i], listen)) i++;
    return i;
}

/* Before it has said whom it wants, a client must be spoken to in one way. */
static void check_same(struct config_builder *b, const struct config_listen *known,
                       const struct config_listen *listen, const struct config_site *site)
{
    struct conf_span at = b->sites[site->index].item->name.at;
    bool same = known->h1 == listen->h1 && known->h2 == listen->h2 && known->h3 == listen->h3;
    if (known->tls == listen->tls) {
        if (!same)
            conf_fail(&b->report, at, "give both listens the same of h1, h2 and h3",
                      "this site's listen on %.*s has other protocols than another one's",
                      CONF_SHOWN(listen->text));
        return;
    }
    conf_fail(&b->report, at,
              known->tls ? "add \"tls\" to its listen" : "take \"tls\" from its listen",
              "this site listens on %.*s %s TLS, another one %s", CONF_SHOWN(listen->text),
              listen->tls ? "with" : "without", listen->tls ? "without" : "with");
}

static void gather_listens(struct config_builder *b, const struct config_site *site)
{
    struct config *c = b->config;
    for (size_t i = 0; i < site->listen_count; i++) {
        const struct config_listen *listen = &site->listens[i];
        if (!listen->address_bytes) continue;
        size_t known = listener_index(c, listen);
        if (known < c->listen_count) {
            check_same(b, &c->listens[known], listen, site);
            continue;
        }
        struct config_listen *all = config_room(b, c->listens, c->listen_count, sizeof *all);
        all[c->listen_count++] = *listen;
        c->listens = all;
    }
}

static void check_admin(struct config_builder *b, const struct conf_item *root)
{
    const struct config *c = b->config;
    if (!c->admin.enabled || listener_index(c, &c->admin.listen) == c->listen_count) return;
    const struct conf_item *item = root->children;
    while (!slice_eq(item->name.text, SLICE("admin"))) item = item->next;
    conf_fail(&b->report, item->name.at, NULL, "a site listens on the admin address %.*s as well",
              CONF_SHOWN(c->admin.listen.text));
}

void config_build_listens(struct config_builder *b, const struct conf_item *root)
{
    struct config *c = b->config;
    struct config_site *sites = arena_alloc(&c->arena, c->site_count * sizeof *sites);
    for (size_t i = 0; i < c->site_count; i++) sites[i] = b->sites[i].site;
    c->sites = sites;
    for (size_t i = 0; i < c->site_count; i++) gather_listens(b, &sites[i]);

    struct config_hosts *hosts = arena_alloc(&c->arena, c->listen_count * sizeof *hosts);
    for (size_t i = 0; i < c->listen_count; i++) hosts[i] = build_hosts(b, i);
    c->hosts = hosts;
    check_admin(b, root);
}

static const struct config_site *find(const struct config_hosts *t, struct slice name)
{
    return t->slots[slot_of(t->slots, t->mask, name)].site;
}

const struct config_site *config_first_site(const struct config *c,
                                            const struct config_listen *listen)
{
    size_t listener = listener_index(c, listen);
    return listener < c->listen_count ? c->hosts[listener].first : NULL;
}

const struct config_site *config_find_site(const struct config *c,
                                           const struct config_listen *listen, struct slice host)
{
    size_t listener = listener_index(c, listen);
    if (listener == c->listen_count) return NULL;
    const struct config_hosts *t = &c->hosts[listener];
    if (host.n && host.p[host.n - 1] == '.') host.n--;

    char lower[HOST_MAX_BYTES];
    if (host.n > sizeof lower) return find(t, SLICE_NONE);
    for (size_t i = 0; i < host.n; i++) lower[i] = ascii_lower(host.p[i]);
    struct slice rest = slice_of(lower, host.n);
    const struct config_site *site = find(t, rest);
    /* From the left: the first suffix found is the longest wildcard. */
    while (!site && rest.n) {
        rest = slice_skip(rest, 1);
        rest = slice_skip(rest, slice_find(rest, '.'));
        site = find(t, rest);
    }
    return site;
}
