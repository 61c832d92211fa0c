/* key_cookie: the cookies of a request that join its key.
 *
 * A Cookie field has no one grammar: origins differ in white space around '=', in quotes, in a name
 * that is there twice, in characters that they take for others. What they could read in two ways
 * about a cookie that is keyed is keyed whole, as it is sent: then only who sends the very same
 * shares a response. Pure, any thread. */
#ifndef VERGE_CACHE_KEY_COOKIE_H
#define VERGE_CACHE_KEY_COOKIE_H

#include "protocols/http/field.h"

struct key_cookie {
    struct slice name, value; /* p == NULL: the request does not have it */
};

/* Those that names has, each a name or, with a '*' at its end, how names begin. A plain name gives
 * one item, also for a cookie that is not there; a pattern one for each that is. Or where it is not
 * clear what the request has: one item, by the name ";", which no cookie has, with all of it. *out
 * is in the arena; returns how many. */
size_t key_cookies(const struct fields *f, const struct slice *names, size_t count, struct arena *a,
                   struct key_cookie **out);

#endif
