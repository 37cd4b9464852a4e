/* A power cut beneath a mounted filesystem: it stops at once, and writes nothing any more that no sync has
 * written, its own log included. What it does then is as after any power cut: its log is replayed when it
 * is mounted again. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>

#define SHUTDOWN _IOR('X', 125, unsigned int)
#define WITHOUT_FLUSHING_THE_LOG 2

int main(int argc, char **argv) {
    unsigned int how = WITHOUT_FLUSHING_THE_LOG;
    int directory = argc == 2 ? open(argv[1], O_RDONLY | O_DIRECTORY) : -1;
    if (directory < 0 || ioctl(directory, SHUTDOWN, &how) != 0) {
        perror("cut");
        return 1;
    }
    return 0;
}
