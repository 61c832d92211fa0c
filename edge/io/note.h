/* note: a message to a worker: "run this function there". Embedded in whatever it is about.
 *
 * A note is either free or posted, never posted twice. From the moment it is posted its memory
 * belongs to the receiving worker, until run is called there. */
#ifndef VERGE_IO_NOTE_H
#define VERGE_IO_NOTE_H

#include <stddef.h>

struct note {
    struct note *next;
    void (*run)(struct note *n);
};

#endif
