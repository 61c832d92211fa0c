/* object: a stored (or just passing) response: a head and a row of segments, each here or still to
 * come.
 *
 * Life:
 *   PENDING   its origin request is under way; nobody knows the head yet. Requests for it park.
 *   FILLING   the head is final, the body grows; readers read it while it does.
 *   COMPLETE  immutable from here on, read without a lock.
 *   FAILED    the rest will never come; error says why. Never handed to anybody who has sent
 * nothing yet. REPLACED  it never got a head of its own; successor is to be used instead (freshened
 * by a 304, or stale).
 *   LOADED    likewise; what the disk has of its key is in the index now: look there again.
 *
 * Counted references: index, fill, readers, parked requests. Shared between workers. Until COMPLETE
 * everything below the line belongs to the object's lock; head, freshness and vary are written
 * once, before FILLING is published. A private object (retain false) holds only what its readers
 * have not taken yet. Knows no exchange and no origin. */
#ifndef VERGE_CACHE_OBJECT_H
#define VERGE_CACHE_OBJECT_H

#include <pthread.h>

#include "cache/key.h"
#include "cache/payload.h"
#include "cache/policy.h"
#include "edge/base/block.h"
#include "edge/base/list.h"
#include "edge/io/scope.h"

enum object_state {
    OBJECT_PENDING,
    OBJECT_FILLING,
    OBJECT_COMPLETE,
    OBJECT_FAILED,
    OBJECT_REPLACED,
    OBJECT_LOADED,
};

/* A parked wait: reachable from its object, all fields the object's lock's; once taken off, it
 * belongs to whoever receives the note. It holds its scope while parked or on its way. */
struct wait {
    struct list link;
    struct note note;
    struct scope *scope;
    void (*ready)(struct wait *w);
    bool parked;    /* on the object's list */
    bool cancelled; /* the note is on its way, nobody wants it any more; the owner's worker only */
};

struct object {
    _Atomic unsigned references;
    _Atomic int state; /* enum object_state; written under the lock */
    struct budget *budget;
    struct key key;       /* text is the object's own */
    uint64_t purge_seq;   /* current when the origin request began */
    struct response head; /* fields point into head_memory */
    struct freshness freshness;
    const uint64_t *tags; /* hashes, tag_count of them: what a purge by tag looks at */
    unsigned tag_count;
    struct slice vary, vary_key; /* names, and the values of the request that fetched it */
    enum audience audience;      /* with its head; see object_may_answer */
    char *head_memory;
    size_t head_bytes;
    struct payload *payload;
    struct disk_write *_Atomic write; /* on its way to the disk; its own. NULL: never was */

    _Atomic int refresh_error; /* of the last attempt to validate or replace it; 0: none failed */

    /* Eviction; the index's. */
    _Atomic uint32_t hits;
    _Atomic double touched; /* inflation at the last hit: GDSF's L */

    /* ---- until COMPLETE: under the lock ---- */
    pthread_mutex_t lock;
    int error;     /* FAILED: why; REPLACED: see object_replace */
    bool ended;    /* the body is whole; a private object stays FILLING, as its segments still go */
    bool retain;   /* segments stay when read: it is being stored */
    bool spilling; /* too large for memory: segments go as they are on the disk */
    struct object *successor;
    size_t spill_bytes;      /* while it spills: what may wait for the disk */
    uint64_t wanted;         /* offset the fastest reader has reached */
    uint64_t window_bytes;   /* the fill may run that far ahead of it */
    uint64_t held_max_bytes; /* once it is not retained any more, what is kept for the slowest */
    uint64_t left_behind;    /* readers before this offset were too slow for the others */
    struct list waits;       /* requests and readers */
    struct list readers;
    unsigned reader_count;  /* readers, and requests that may become one */
    struct wait *room;      /* the stalled fill */
    struct wait *abandoned; /* the fill, to be told when nobody wants it any more */
    struct fields trailers; /* in trailer_arena */
    struct arena trailer_arena;
};

/* What RAM the cache may use, all that objects, heads and index cost together. Shared, atomic. */
struct budget {
    _Atomic size_t used_bytes;
    _Atomic size_t limit_bytes; /* a reload may change it */
};

void budget_charge(struct budget *b, size_t bytes);
void budget_refund(struct budget *b, size_t bytes);

/* A PENDING object with one reference; budget may be charged beyond its limit, the index's eviction
 * brings it back. */
struct object *object_new(const struct key *key, struct budget *budget, uint64_t purge_seq,
                          size_t window_bytes);
struct object *object_hold(struct object *o);
void object_drop(struct object **o);
static inline enum object_state object_state(const struct object *o)
{
    return (enum object_state)atomic_load_explicit(&o->state, memory_order_acquire);
}
/* What it costs the budget at present. */
size_t object_cost(struct object *o);

/* ---- the fill's side, one worker ---- */

/* Copies the head, PENDING -> FILLING, wakes everybody. The body is kept where it has an audience;
 * else only the window. */
void object_set_head(struct object *o, const struct response *head,
                     const struct freshness *freshness, struct slice vary, struct slice vary_key,
                     enum audience audience);
/* The fill must stop once its readers have enough: true while it may go on; false after parking
 * room, whose ready comes when it may. */
bool object_has_room(struct object *o, struct wait *room);
/* Appends, taking the reference; a span that continues the last segment extends it. */
void object_append(struct object *o, struct span *s);
/* From now on it is not stored: what all readers have taken goes. What a slow one has not taken yet
 * is kept for it up to held_max_bytes; after that the others wait. */
void object_stop_retaining(struct object *o, uint64_t held_max_bytes);
/* All that may be kept for the slowest reader is, so that the others wait for it. */
bool object_is_held_up(struct object *o);
/* Of one that is held up, and whose fastest reader has all there is: lets go of what only slower
 * ones need, which then fail with -E_CLIENT_SLOW. False, and nothing done, otherwise: the fastest
 * is slow itself, or a request that may begin at the start has joined. */
bool object_leave_slow_readers(struct object *o);
/* The body is whole. trailers may be NULL. */
void object_complete(struct object *o, const struct fields *trailers);
/* The body, or the head, will not come. Has no effect on one that is COMPLETE. */
void object_fail(struct object *o, int error);
/* PENDING -> REPLACED; holds the successor. error: the origin's failure, for which the successor
 * stands in; 0: it is what the origin's response made of it. */
void object_replace(struct object *o, struct object *successor, int error);
/* Calls ready once when no reader is left and nothing is to be stored, at once where that is so
 * already. By then there may be readers again: object_is_wanted tells. */
void object_on_abandoned(struct object *o, struct wait *w);
bool object_is_wanted(struct object *o);
bool object_has_readers(struct object *o);
/* More than one reads it, or waits for it. */
bool object_has_company(struct object *o);

/* ---- the other side, any worker ---- */

/* Counts a request as interested, so that the fill goes on for it and keeps everything from the
 * start; to be followed by object_leave. False, and not counted, where the start has gone already:
 * it is not stored and others have read on. */
bool object_join(struct object *o);
void object_leave(struct object *o);
/* The object is one for this request (RFC 9111 section 4.1). */
bool object_selects(const struct object *o, const struct request *req, struct arena *arena);
/* Its head is there: may it answer a request that did not cause it? stands_in as in policy_may_use.
 */
bool object_may_answer(const struct object *o, const struct cache_policy *p,
                       const struct request *req, bool stands_in, int64_t now_ms,
                       struct arena *arena);
/* Parks until the state is not PENDING: false, nothing parked, when it is so already. */
bool object_wait_head(struct object *o, struct wait *w);
/* Takes a parked wait off; where its note is on its way already, marks it cancelled: ready will not
 * be called. */
void object_cancel_wait(struct object *o, struct wait *w);

void wait_init(struct wait *w, struct scope *scope, void (*ready)(struct wait *w));

/* ---- what writes it to the disk ---- */

/* It is too large for memory: from now on what the disk has goes, and the fill waits for the disk
 * once spill_bytes wait for it. FILLING, retained. */
void object_spill(struct object *o, size_t spill_bytes);
bool object_is_spilling(struct object *o);
/* It spills, and holds all it may of what the disk does not have. */
bool object_waits_for_disk(struct object *o);
/* How far its body goes, and whether that is all. */
bool object_is_whole(struct object *o, uint64_t *end);
/* Bytes of the body that are in memory: all, or, where it spills, what was not written yet. False
 * where they are not any more: it is not to be stored after all. */
bool object_copy(struct object *o, uint64_t from, size_t n, char *to);
/* The disk has the body up to there. UINT64_MAX: and the head, so it is whole: one that spills
 * becomes COMPLETE. */
void object_written(struct object *o, struct directory *d, struct stored *s, uint64_t end);
/* It can be read to its end, as far as is known: on the disk or in memory. Any thread. */
bool object_is_readable(const struct object *o);
/* And at this moment: the disk answers, if it is needed. */
bool object_is_readable_now(const struct object *o);
/* What of a COMPLETE object only the disk has stays there until stored_unpin of its payload's
 * place; false where it has all in memory, or the disk has it no more. */
bool object_pin(const struct object *o);

/* ---- pieces for reader.c and freshening ---- */

/* A COMPLETE object with that head and payload, of which it takes a reference. */
struct object *object_whole(const struct key *key, struct budget *budget, size_t window_bytes,
                            struct payload *payload, const struct response *head,
                            const struct freshness *freshness, struct slice vary,
                            struct slice vary_key, uint64_t purge_seq);
/* The same for another generation of a COMPLETE object: the body stays. */
struct object *object_with_payload(struct object *body, const struct response *head,
                                   const struct freshness *freshness, struct slice vary,
                                   struct slice vary_key, uint64_t purge_seq);
/* Those of a body that is whole; copied. */
void object_set_trailers(struct object *o, const struct fields *trailers);
/* PENDING -> LOADED. */
void object_loaded(struct object *o);
/* Parks w under the lock held by the caller. */
void object_park_locked(struct object *o, struct wait *w);
/* A reader has reached offset: lets the fill go on, drops what nobody will read again. Lock held by
 * the caller. */
void object_advance_locked(struct object *o, uint64_t offset);

#endif
