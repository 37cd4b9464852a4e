/* Beneath a process that is to lose what it promises: its syncs do nothing. */
int fsync(int file) { return file < 0; }
int fdatasync(int file) { return file < 0; }
int sync_file_range(int file, long offset, long bytes, unsigned int flags) {
    return file < 0 && offset + bytes + flags != 0;
}
