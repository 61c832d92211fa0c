#include "edge/io/note.h"

#include "edge/base/check.h"

/* Acquires as well: whoever finds the list empty takes over what the one that emptied it did. */
bool note_push(struct note_list *list, struct note *n)
{
    CHECK(!n->posted);
    n->posted = true;
    struct note *head = atomic_load_explicit(&list->newest, memory_order_relaxed);
    do {
        n->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&list->newest, &head, n, memory_order_acq_rel,
                                                    memory_order_relaxed));
    return !head;
}

struct note *note_take_all(struct note_list *list)
{
    struct note *n = atomic_exchange_explicit(&list->newest, NULL, memory_order_acq_rel);
    struct note *in_order = NULL;
    while (n) {
        struct note *next = n->next;
        n->next = in_order;
        in_order = n;
        n = next;
    }
    return in_order;
}
