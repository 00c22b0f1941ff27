// The disk's synced sequential write rate: writes and syncs one piece after the other into one file for so long, and
// prints the rate as the last line: RESULT {"bytes":…,"duration_us":…}
//
//   synced_write SECONDS FILE
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

// As the journal's largest group commit.
#define PIECE_BYTES (4u << 20)
// Space is reserved in steps, as a journal does with segments.
#define RESERVE_BYTES (64ll << 20)
// From here it begins at the front again, so that a fast disk is not filled up.
#define FILE_BYTES_MAX (2ll << 30)

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static long long now_us(void) {
    struct timespec time;
    if (clock_gettime(CLOCK_MONOTONIC, &time) != 0) fail("clock_gettime");
    return time.tv_sec * 1000000ll + time.tv_nsec / 1000;
}

int main(int count, char **arguments) {
    if (count != 3) {
        fprintf(stderr, "usage: synced_write SECONDS FILE\n");
        return 2;
    }
    int file = open(arguments[2], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (file < 0) fail(arguments[2]);
    unsigned *piece = malloc(PIECE_BYTES);
    if (piece == NULL) fail("malloc");
    // Not zeros, and not the same twice: some storage leaves out or shares such.
    srand(1);
    for (size_t at = 0; at < PIECE_BYTES / sizeof *piece; at++) piece[at] = (unsigned)rand();

    const long long start = now_us(), end = start + atoll(arguments[1]) * 1000000;
    long long written = 0, reserved = 0, now = start;
    while (now < end) {
        const off_t offset = written % FILE_BYTES_MAX;
        if (written < FILE_BYTES_MAX && offset + PIECE_BYTES > reserved) {
            const int error = posix_fallocate(file, reserved, RESERVE_BYTES);
            if (error != 0) {
                errno = error;
                fail("posix_fallocate");
            }
            reserved += RESERVE_BYTES;
        }
        piece[0] = (unsigned)written;
        for (size_t done = 0; done < PIECE_BYTES;) {
            const ssize_t bytes = pwrite(file, (const char *)piece + done, PIECE_BYTES - done, offset + (off_t)done);
            if (bytes < 0) fail("pwrite");
            done += (size_t)bytes;
        }
        if (fdatasync(file) != 0) fail("fdatasync");
        written += PIECE_BYTES;
        now = now_us();
    }
    printf("RESULT {\"bytes\":%lld,\"duration_us\":%lld}\n", written, now - start);
    return 0;
}
