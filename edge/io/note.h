/* note: a message to a worker: "run this function there". Embedded in whatever it is about.
 *
 * A note is either free or posted, and posting it twice fails a CHECK. From the moment it is posted
 * its memory belongs to the receiving worker, until run is called there. */
#ifndef VERGE_IO_NOTE_H
#define VERGE_IO_NOTE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct note {
    struct note *next;
    void (*run)(struct note *n);
    bool posted; /* until just before run */
};

/* Where any thread may leave notes for one that takes them all. */
struct note_list {
    _Atomic(struct note *) newest;
};

/* True if the list was empty: whoever takes from it has to be told. */
bool note_push(struct note_list *list, struct note *n);
/* All of them, oldest first; they still count as posted. */
struct note *note_take_all(struct note_list *list);

#endif
