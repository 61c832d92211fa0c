/* The command line. */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "edge/cache_command.h"
#include "edge/config.h"
#include "edge/run.h"

static const char usage_text[] =
    "usage: verge run -c FILE        serve as a configuration says\n"
    "       verge run --origin URL [--disk FOLDER]\n"
    "                                serve one origin on 127.0.0.1:8080, to try it out\n"
    "       verge check FILE         say what is wrong with a configuration, if anything is\n"
    "       verge directives         print every directive of a configuration\n"
    "       verge cache [-c FILE | --admin HOST:PORT] [--json] stat | ls [PREFIX] | get KEY | rm "
    "KEY\n"
    "                                what a running node has stored; by default the one whose\n"
    "                                admin listener is 127.0.0.1:9145\n"
    "       verge --version, verge --help\n";

static int refuse(const char *reason)
{
    fprintf(stderr, "verge: %s.\n%s", reason, usage_text);
    return EXIT_WRONG;
}

static int run_command(int argc, char **argv)
{
    static const struct option options[] = {
        { "config", required_argument, NULL, 'c' },
        { "origin", required_argument, NULL, 'o' },
        { "disk", required_argument, NULL, 'd' },
        { 0 },
    };
    const char *file = NULL, *origin = NULL, *disk = NULL;
    opterr = 0; /* said here, in one sentence */
    for (int option; (option = getopt_long(argc, argv, "c:", options, NULL)) != -1;) {
        if (option == 'c')
            file = optarg;
        else if (option == 'o')
            origin = optarg;
        else if (option == 'd')
            disk = optarg;
        else
            return refuse("run takes -c FILE, or --origin URL and --disk FOLDER");
    }
    if (optind < argc || !file == !origin || (disk && file))
        return refuse("run takes either -c FILE, or --origin URL and perhaps --disk FOLDER");
    return run(file, origin, disk);
}

static int check_command(int argc, char **argv)
{
    if (argc != 2) return refuse("check takes one FILE");
    struct config *c = config_load(argv[1], stderr);
    if (!c) return EXIT_WRONG;
    fwrite(c->warnings.p, 1, c->warnings.n, stderr);
    config_drop(&c);
    printf("%s: ok\n", argv[1]);
    return EXIT_SUCCESS;
}

static int directives_command(int argc, char **argv)
{
    (void)argv;
    if (argc != 1) return refuse("directives takes nothing");
    config_describe(stdout);
    return EXIT_SUCCESS;
}

static int cache(int argc, char **argv)
{
    const char *wrong = NULL;
    int rc = cache_command(argc, argv, &wrong);
    return wrong ? refuse(wrong) : rc;
}

static int version_command(int argc, char **argv)
{
    (void)argc, (void)argv;
    printf("verge %s\n", VERGE_VERSION);
    return EXIT_SUCCESS;
}

static int help_command(int argc, char **argv)
{
    (void)argc, (void)argv;
    fputs(usage_text, stdout);
    return EXIT_SUCCESS;
}

static const struct {
    const char *name;
    int (*run)(int argc, char **argv); /* argv begins with the command */
} commands[] = {
    { "run", run_command },
    { "check", check_command },
    { "directives", directives_command },
    { "cache", cache },
    { "--version", version_command },
    { "-V", version_command },
    { "--help", help_command },
    { "-h", help_command },
};

/* Whoever closed one of 0 to 2 before starting this must not have the error log written into a
 * client's connection, which would get that number. */
static bool fill_standard_descriptors(void)
{
    int fd;
    do fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    return fd >= 0 && close(fd) == 0;
}

int main(int argc, char **argv)
{
    if (!fill_standard_descriptors()) return EXIT_SYSTEM;
    if (argc < 2) return refuse("a command is missing");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) return commands[i].run(argc - 1, argv + 1);
    }
    return refuse("there is no such command");
}
