/*
 * Runs a fuzz target over its corpus as a plain test: `fuzz_NAME DIRECTORY...` prints one TAP line
 * for each input. Every input has a process of its own, so that one that crashes hides no other.
 */
#include <dirent.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* An input that takes this long hangs; the slowest takes milliseconds. */
#define HANG_S 60

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int done, failed;

/* The input lies in a block of exactly its size, so that a sanitizer sees a read past its end. */
static uint8_t *load(const char *path, size_t *size)
{
    struct stat st;
    FILE *f = fopen(path, "rb");
    if (!f || fstat(fileno(f), &st)) return NULL;
    uint8_t *data = malloc((size_t)st.st_size);
    *size = data ? fread(data, 1, (size_t)st.st_size, f) : 0;
    fclose(f);
    return data;
}

static void run_here(const char *path)
{
    size_t size = 0;
    uint8_t *data = NULL;
    if (path && !(data = load(path, &size))) exit(1);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    exit(0);
}

/* A NULL path is the empty input. */
static void run(const char *path)
{
    int status;
    pid_t child = fork();
    if (!child) {
        alarm(HANG_S);
        run_here(path);
    }
    int passed = child > 0 && waitpid(child, &status, 0) == child && status == 0;
    failed += !passed;
    printf("%s %d - %s\n", passed ? "ok" : "not ok", ++done, path ? path : "(empty input)");
    fflush(stdout);
}

static int run_directory(const char *directory)
{
    struct dirent **names;
    int count = scandir(directory, &names, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/%s", directory, names[i]->d_name);
        if (names[i]->d_name[0] != '.') run(path);
        free(names[i]);
    }
    if (count >= 0) free(names);
    return count < 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
    run(NULL);
    for (int i = 1; i < argc; i++) {
        if (!run_directory(argv[i])) continue;
        perror(argv[i]);
        failed++;
    }
    printf("1..%d\n", done);
    return failed != 0;
}
