/* ranged: what answers a request for a single range of a representation that is not stored.
 *
 * The slice that has the first byte asked for is got, and its head tells what follows: the length,
 * which slices are needed, and whether there are any. In its exchange's arena; belongs to that
 * worker. */
#ifndef VERGE_EDGE_RANGED_H
#define VERGE_EDGE_RANGED_H

#include "cache/slices.h"
#include "edge/piece.h"

enum ranged_answer {
    RANGED_ASKING, /* not known yet */
    RANGED_SLICES, /* the object is a slice of what *of says; it and those that follow */
    RANGED_OBJECT, /* the object, as any other: the whole, or what the origin said instead */
    RANGED_ALONE,  /* no slices are to be had: to be forwarded as it was asked */
    RANGED_WHOLE,  /* If-Range does not hold: as if there were no Range */
    RANGED_FAILED, /* error says why */
};

struct ranged {
    struct piece_source from;
    struct piece piece; /* the object is in here */
    struct range_spec asked;
    enum ranged_answer answer;
    struct representation of;
    int error;
    void (*done)(struct ranged *r);
    void *owner;

    struct arena *arena;
    unsigned rounds;
    bool known; /* of is what an earlier slice said */
};

/* Is this a request that slices may answer, as far as it and what is known of the key say? */
bool ranged_applies(const struct piece_source *from, struct range_spec *asked);
/* Begins; done is called once, possibly from inside. r is zero but for from, asked, arena, done
 * and owner. watch: of the fetch, if one is begun. */
void ranged_begin(struct ranged *r, struct miss_watch *watch);
/* Lets go, also before it is done. Harmless twice. */
void ranged_close(struct ranged *r);
/* What the answer's Cache-Status and log say of where its first slice came from. */
enum verdict ranged_verdict(const struct ranged *r, struct cache_status *status);

#endif
