/* key: the cache key of a request, and the secondary key that Vary adds.
 *
 * Pure functions into an arena. The primary key is length-prefixed scheme, authority (lower case,
 * default port dropped), path (in the form of path_key), and query after the route's key policy,
 * then the header and cookie values the route adds; so no two different requests can spell the same
 * key. What is keyed is what is sent to the origin: key_build also gives the target as the origin
 * must see it. */
#ifndef VERGE_CACHE_KEY_H
#define VERGE_CACHE_KEY_H

#include "protocols/http/message.h"

enum key_query { KEY_QUERY_ALL, KEY_QUERY_NONE, KEY_QUERY_KEEP, KEY_QUERY_DROP };

/* A route's key policy; immutable with the configuration generation. Default (all zero): the query
 * as it is. */
struct key_policy {
    enum key_query query;       /* KEEP: only the named parameters; DROP: all but the named ones */
    const struct slice *params; /* names; a trailing '*' matches a prefix ("utm_*") */
    size_t param_count;
    bool sort_query; /* by name, stable; like KEEP and DROP it drops empty parameters ("a&&b") */
    const struct slice *headers; /* names whose values join the key; with a '*' at the end: of all
                                    that begin so */
    size_t header_count;
    const struct slice *cookies; /* names of cookies, likewise; see key_cookie.h */
    size_t cookie_count;
};

struct key {
    uint64_t hash;       /* of text, with a per-process seed so that nobody can choose collisions */
    struct slice text;   /* the whole key: equality is decided on it, never on the hash alone */
    struct slice target; /* path and query to send to the origin */
    uint32_t slice;      /* 0: the whole representation; n + 1: its slice n, see key_slice */
};

/* What makes a hash one's own: SipHash's key. */
struct key_seed {
    uint64_t v[2];
};

/* Sets the process-wide seed of all key hashes. Once, at start-up. */
void key_seed(uint64_t a, uint64_t b);
/* Builds the primary key of req, whose path is in the form of path_key, in the arena. */
void key_build(const struct key_policy *p, const struct request *req, struct arena *a,
               struct key *out);
/* The key another request, with the same fields, to a reference (RFC 3986 section 5.2: absolute
 * URI, network-path, absolute or relative path; dot segments removed) would have under the same
 * policy; false where the reference is malformed or names another origin. Used to invalidate what
 * Location and Content-Location name (RFC 9111 section 4.4). */
bool key_build_reference(const struct key_policy *p, const struct request *req,
                         struct slice reference, struct arena *a, struct key *out);
/* The key of slice n (n + 1 has 32 bits) of what key stands for: one that no request has, and whose
 * text ends in the whole's. */
void key_slice(const struct key *whole, uint32_t n, struct arena *a, struct key *out);
/* The other way round; *out borrows the text. */
void key_whole(const struct key *key, struct key *out);
struct slice key_whole_text(const struct key *key);
/* Without the scheme's own port, or an empty one. */
struct slice key_authority(struct slice scheme, struct slice authority);
/* The same as it stands in the key, in lower case: for what is sent. In the arena. */
struct slice key_authority_text(struct slice scheme, struct slice authority, struct arena *a);
/* SipHash-1-3 of any bytes with the process seed. */
uint64_t key_hash(struct slice s);
/* The same with another seed: for hashes that outlive the process. */
uint64_t key_hash_with(const struct key_seed *with, struct slice s);

/* The secondary key (RFC 9111 section 4.1): each field name in vary (the joined Vary value) and the
 * request's value for it, length-prefixed, absent told from empty. Lists have white space and empty
 * members normalised, and no other field, since its form is not known (section 4.1);
 * Accept-Language is folded to lower case; Accept-Encoding to the subset of {zstd, br, gzip} with q
 * > 0, so the origin must be asked with just that (accept_encoding_text). False where vary names
 * "*" or holds no valid names: then no other request matches. */
bool key_vary(struct slice vary, const struct request *req, struct arena *a, struct slice *out);

#endif
