/* Beneath a process that forks, as a library it uses might. getppid forks: 0 in the child. The next call in the
   parent waits for the child and returns its status. A child that waits for what it does not have is ended. */
#include <sys/wait.h>
#include <unistd.h>

static pid_t child = 0;

pid_t getppid(void) {
    int status = -1;
    if (child == 0) {
        child = fork();
        if (child == 0)
            alarm(60);
        return child;
    }
    waitpid(child, &status, 0);
    child = 0;
    return status;
}
