/* key_text: keys as people read and write them, and back.
 *
 * A key's text is length-prefixed and binary. In readable form it is the URL, and behind it what
 * else joined the key:
 *
 *     http://example.com/a?b header x-kind=1 cookie lang=de for www.example.com
 *
 * Values behind the URL have ' ' and '%' as percent-escapes, and everything what is not printable
 * ASCII, so that no two keys of requests look alike. A field without "=" was absent. In front of a
 * slice's stands "slice N ". Pure functions into an arena. */
#ifndef VERGE_CACHE_KEY_TEXT_H
#define VERGE_CACHE_KEY_TEXT_H

#include "cache/key.h"

/* Of a key's text. Any bytes will do: where they are not of that form they are shown as they are.
 */
struct slice key_readable(struct slice key_text, struct arena *a);
/* Of a secondary key, as key_vary makes it: "accept-encoding=gzip x-kind=1". */
struct slice vary_readable(struct slice vary_key, struct arena *a);
/* The key that is shown so. The host may be in any case and have the scheme's own port, the path in
 * any spelling that path_key takes for the same. False if there is no such key. target is not set.
 */
bool key_from_readable(struct slice readable, struct arena *a, struct key *out);

#endif
