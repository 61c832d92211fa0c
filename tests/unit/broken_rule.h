/* A rule of the node's own code that is broken on purpose: its CHECK ends the process, so a child
 * breaks it. */
#ifndef VERGE_TESTS_BROKEN_RULE_H
#define VERGE_TESTS_BROKEN_RULE_H

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Whether break_rule ends in the CHECK of that condition. */
static bool check_fires(void (*break_rule)(void), const char *condition)
{
    int ends[2], status = 0;
    char said[1024] = "";
    size_t n = 0;
    if (pipe(ends) < 0) return false;
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        break_rule();
        _exit(0);
    }
    close(ends[1]);
    for (ssize_t more; (more = read(ends[0], said + n, sizeof said - 1 - n)) > 0;)
        n += (size_t)more;
    close(ends[0]);
    const char *why = strstr(said, "check failed: ");
    return waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
           WTERMSIG(status) == SIGABRT && why && strstr(why, condition);
}

#endif
