/* The configuration: any text is refused with a message or gives a generation that keeps its
 * promises. */
#include <stdlib.h>

#include "edge/base/check.h"
#include "edge/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_route(const struct config *c, const struct config_route *r)
{
    CHECK(r->origin >= c->origins && r->origin < c->origins + c->origin_count);
    CHECK(r->index < c->route_total && r->pattern_count);
    for (size_t i = 0; i < r->pattern_count; i++) {
        const struct config_pattern *p = &r->patterns[i];
        CHECK(p->literal_bytes <= p->text.n && config_pattern_matches(p, p->text));
    }
    for (size_t i = 0; i < r->request_header_count; i++) CHECK(r->request_headers[i].name.n);
    for (size_t i = 0; i < r->cache.ttl_count; i++) CHECK(r->cache.ttls[i].ttl_ms >= 0);
}

/* By the pattern's own text, or by the folder that it matches besides. */
static bool reaches(const struct config_site *s, const struct config_route *r, struct slice text)
{
    if (config_find_route(s, text) == r) return true;
    return text.n > 2 && config_find_route(s, slice_of(text.p, text.n - 2)) == r;
}

/* Every host is found on every listener of its site, and every route is reached by what it alone
 * matches. */
static void check_site(const struct config *c, const struct config_site *s)
{
    CHECK(s->listen_count && s->host_count && s->route_count);
    for (size_t i = 0; i < s->listen_count; i++) {
        for (size_t j = 0; j < s->host_count; j++)
            CHECK(config_find_site(c, &s->listens[i], s->hosts[j]) == s);
    }
    for (size_t i = 0; i < s->route_count; i++) {
        check_route(c, &s->routes[i]);
        for (size_t k = 0; k < s->routes[i].pattern_count; k++)
            CHECK(reaches(s, &s->routes[i], s->routes[i].patterns[k].text));
    }
}

static void check_config(const struct config *c)
{
    CHECK(c->origin_count && c->site_count && c->listen_count);
    CHECK(c->cache.object_max_bytes && c->cache.object_memory_max_bytes <= c->cache.memory_bytes);
    for (size_t i = 0; i < c->origin_count; i++) CHECK(c->origins[i].server_count);
    for (size_t i = 0; i < c->site_count; i++) check_site(c, &c->sites[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *message = NULL;
    size_t message_bytes = 0;
    FILE *errors = open_memstream(&message, &message_bytes);
    struct config *c = config_parse(slice_of((const char *)data, size), "fuzz", errors);
    fclose(errors);
    CHECK(!c == !!message_bytes);
    if (c) check_config(c);
    config_drop(&c);
    free(message);
    return 0;
}
