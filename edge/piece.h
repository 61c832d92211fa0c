/* piece: one slice of a representation (cache/slices) as an object whose head is there: found in
 * the index, waited for while somebody fetches it, or fetched.
 *
 * Embedded in who asks, and used for one slice after the other; belongs to that worker. It sees to
 * it that an object which it has for others is one they may use, and judges nothing else: whether
 * the head is that of the slice, and what follows if not, is its owner's business. */
#ifndef VERGE_EDGE_PIECE_H
#define VERGE_EDGE_PIECE_H

#include "cache/index.h"
#include "cache/slices.h"
#include "edge/answer.h"
#include "edge/miss.h"

/* Whose pieces they are: of one request, constant, and there as long as they are. */
struct piece_source {
    struct edge *edge;
    struct config *config;
    const struct config_route *route;
    const struct request *request; /* what the client asked for; Range and If-Range do not count */
    const struct peer *peer;
    struct key key; /* of the whole representation */
    struct scope *scope;
    bool stored_only; /* nothing is fetched */
};

/* What became of the lookup. */
enum piece_way {
    PIECE_STORED,
    PIECE_STALE,     /* stored; being refreshed behind the client's back */
    PIECE_JOINED,    /* somebody else's fetch */
    PIECE_FETCHED,   /* our own */
    PIECE_VALIDATED, /* our own fetch said that what was stored is to be used */
};

struct piece {
    const struct piece_source *from;
    struct miss_watch *watch;       /* of our own fetch; NULL: nobody is told */
    void (*ready)(struct piece *p); /* it is settled; never from inside piece_get */
    void *owner;
    uint32_t n;
    bool asked, settled;
    /* Once settled: the object, or why there is none; neither where it cannot be had together with
     * others. */
    struct object *object; /* a reference; what still fills is also joined */
    int error;
    enum piece_way way;
    enum forward_reason fwd;

    struct arena arena; /* of this slice alone: a body of many takes no more than that of one */
    struct key key;
    struct request request;
    struct wait wait;
    bool joined, waiting;
    unsigned lookups;
};

void piece_init(struct piece *p, const struct piece_source *from, struct miss_watch *watch,
                void (*ready)(struct piece *p), void *owner);
/* Asks for a slice, in place of the one before. */
void piece_get(struct piece *p, uint32_t n);
/* What was settled upon is no good: takes it out of the index, and asks for the same slice again.
 */
void piece_get_again(struct piece *p);
/* Asks the origin for this client alone, where the slice could not be had together with others. */
void piece_get_alone(struct piece *p);
/* Lets go of it; a fetch for all goes on. Harmless where nothing was asked for. */
void piece_close(struct piece *p);

/* Is something stored that may be slice n of that? What only the disk has tells it later. */
bool piece_is_stored(const struct piece_source *from, uint32_t n, const struct representation *of);

/* The slices of this configuration: 0 where it wants none, or could not store them. */
size_t piece_slice_bytes(const struct config *c);

#endif
