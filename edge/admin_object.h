/* admin_object: all there is of one key, and its removal. Part of admin.
 *
 * The key is given as it is listed: readable, or as the hash of an object whose key only the disk
 * has, which is read first. Heads are read one after the other, without anything being loaded into
 * the memory's index. A removal is answered when the disk has forgotten as well, so that what was
 * removed stays away also when the process is killed; in "lasting" it says if that could not be
 * had, as the disk is down. */
#ifndef VERGE_EDGE_ADMIN_OBJECT_H
#define VERGE_EDGE_ADMIN_OBJECT_H

struct exchange;

/* {"objects":[rows of admin_row, in full], "more":bool}; 404 where there are none. */
void admin_object_get(struct exchange *x);
/* {"removed":count, "lasting":bool}; 404 where nothing was stored. */
void admin_object_remove(struct exchange *x);
/* The exchange has ended; x->edge was set. */
void admin_object_end(struct exchange *x);

#endif
