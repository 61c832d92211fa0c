/*
 * An io_uring and one provided buffer ring, with nothing but the system calls: what the floor
 * stands on. One thread, one ring. It handles no failure: whatever goes wrong ends the program.
 */
#pragma once

#include <linux/io_uring.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define BUFFER_BYTES 4096
#define BUFFER_GROUP 1

/* Says what failed and why, and ends the program. */
void die(const char *what);

/* Zeroed memory, or a part of a file, of which every page is there. */
void *map(size_t bytes, int flags, int fd, off_t offset);

void ring_open(void);

/* An entry to fill in; handed in with the next ring_turn(). Its completion has this user_data. */
struct io_uring_sqe *ring_prepare(int fd, uint64_t user_data);

/* Submits what is prepared, waits for one completion and hands each that is there to `handle`. */
void ring_turn(void (*handle)(const struct io_uring_cqe *));

/* Lends the buffers of BUFFER_GROUP to the kernel. */
void buffers_open(void);

/* What a completion with a buffer has received is here, until the buffer is given back. */
char *buffers_data(uint16_t id);

void buffers_give(uint16_t id);

/* Gives the kernel what was given back; ring_turn() does it, too. */
void buffers_publish(void);
