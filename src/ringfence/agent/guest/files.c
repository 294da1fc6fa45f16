/* Files: read, written and listed whole, with a CRC-32 of what passed. */
#include "agent.h"

enum { NAME_MAX = 255, LINK_MAX = 4095, RECORD_MAX = sizeof(struct record) + NAME_MAX + LINK_MAX };

/* -- CRC-32 (IEEE 802.3, as zlib's), four bytes a step -- */

static u32 table[4][256];

static u32 crc32(u32 crc, const u8 *data, size n)
{
    if (!table[0][1]) {
        for (u32 i = 0; i < 256; i++) {
            u32 value = i;
            for (int bit = 0; bit < 8; bit++)
                value = value >> 1 ^ (value & 1 ? 0xEDB88320 : 0);
            table[0][i] = value;
        }
        for (u32 i = 0; i < 256; i++)
            for (int slice = 1; slice < 4; slice++)
                table[slice][i] = table[slice - 1][i] >> 8 ^ table[0][table[slice - 1][i] & 0xFF];
    }
    crc = ~crc;
    for (; n >= 4; n -= 4, data += 4) {
        crc ^= *(const u32 *)data;
        crc = table[3][crc & 0xFF] ^ table[2][crc >> 8 & 0xFF] ^ table[1][crc >> 16 & 0xFF] ^ table[0][crc >> 24];
    }
    while (n--)
        crc = crc >> 8 ^ table[0][(crc ^ *data++) & 0xFF];
    return ~crc;
}

static void count(struct stream *s, const void *data, size n)
{
    s->crc = crc32(s->crc, data, n);
    s->size += n;
}

/* -- from the guest -- */

void file_read_start(struct stream *s, const char *path)
{
    s->fd[OUT] = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0);
    if (s->fd[OUT] < 0)
        fail(s, s->fd[OUT]);
    else
        s->kind = READ_FILE;
}

void file_read(struct stream *s)
{
    u32 room = s->credit[OUT] < DATA_MAX ? s->credit[OUT] : DATA_MAX;
    long n = read(s->fd[OUT], out.data, room);
    if (n == -EAGAIN || n == -EINTR)
        return;
    if (n <= 0) {
        fail(s, n);
        return;
    }
    count(s, out.data, n);
    s->credit[OUT] -= (u32)n;
    send(s->id, DATA, OUT, (u32)n);
}

/* -- to the guest: into a file beside it, which takes its place when all is there -- */

static void new_path(struct stream *s, char *path)
{
    put_number(put_text(put_text(path, s->path), ".rf-new-"), s->id);
}

void file_write_start(struct stream *s, const char *data, u32 n)
{
    const struct write *wanted = (const struct write *)data;
    char path[sizeof s->path + 16];
    if (n <= sizeof *wanted || n - sizeof *wanted >= sizeof s->path) {
        fail(s, -ENAMETOOLONG);
        return;
    }
    memcpy(s->path, data + sizeof *wanted, n - sizeof *wanted);
    s->path[n - sizeof *wanted] = 0;
    s->mode = wanted->mode;
    s->modified_ns = wanted->modified_ns;
    s->left = wanted->size;
    new_path(s, path);
    file_cancel(s); /* one that an earlier agent left */
    s->fd[IN] = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (s->fd[IN] < 0) {
        fail(s, s->fd[IN]);
        return;
    }
    s->kind = WRITE_FILE;
}

void file_cancel(struct stream *s)
{
    char path[sizeof s->path + 16];
    new_path(s, path);
    call3(unlinkat, AT_FDCWD, path, 0);
}

void file_write(struct stream *s, const char *data, u32 n)
{
    u32 done = 0;
    while (done < n) {
        long written = write(s->fd[IN], data + done, n - done);
        if (written == -EINTR)
            continue;
        if (written <= 0) {
            file_cancel(s);
            fail(s, written ? written : -EINVAL);
            return;
        }
        done += (u32)written;
    }
    count(s, data, n);
    take_input(s, n);
}

void file_write_end(struct stream *s)
{
    char path[sizeof s->path + 16];
    long result = s->size == s->left ? 0 : -EPROTO;
    new_path(s, path);
    if (result >= 0)
        result = call2(fchmod, s->fd[IN], s->mode & 07777);
    if (result >= 0 && s->modified_ns >= 0) {
        struct timespec time = from_ns(s->modified_ns), times[2] = {time, time};
        call4(utimensat, s->fd[IN], 0, times, 0);
    }
    if (result >= 0)
        result = call4(renameat, AT_FDCWD, path, AT_FDCWD, s->path);
    if (result < 0)
        file_cancel(s);
    fail(s, result);
}

/* -- what there is -- */

/* Append the record of `name` in `folder` to `out` at `at`; how long it is, or an error. */
static long put_record(u32 at, int folder, const char *name, const char *shown)
{
    struct statx found;
    struct record *record = (struct record *)(out.data + at);
    u8 *end = out.data + at + sizeof *record;
    size n = length(shown);
    long result = call5(statx, folder, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &found);
    if (result < 0)
        return result;
    memcpy(end, shown, n);
    result = 0;
    if ((found.mode & S_IFMT) == S_IFLNK)
        result = call4(readlinkat, folder, name, end + n, LINK_MAX);
    if (result < 0)
        result = 0;
    record->mode = found.mode;
    record->uid = found.uid;
    record->gid = found.gid;
    record->name_length = (u16)n;
    record->link_length = (u16)result;
    record->size = found.size;
    record->modified_ns = found.mtime.seconds * 1000000000 + found.mtime.nanoseconds;
    return sizeof *record + n + result;
}

void file_stat(struct stream *s, const char *path)
{
    long n = put_record(0, AT_FDCWD, path, "");
    if (n > 0)
        send(s->id, DATA, OUT, (u32)n);
    fail(s, n < 0 ? n : 0);
}

void list_start(struct stream *s, const char *path)
{
    s->fd[OUT] = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (s->fd[OUT] < 0) {
        fail(s, s->fd[OUT]);
        return;
    }
    s->kind = LIST_FOLDER;
    list_continue(s);
}

/* One frame of records, as far as it and the credit go. poll finds a directory readable always. */
void list_continue(struct stream *s)
{
    u32 n = 0;
    while (s->credit[OUT] >= n + RECORD_MAX && n + RECORD_MAX <= DATA_MAX) {
        if (s->begin >= s->end) {
            long got = call3(getdents64, s->fd[OUT], s->buffer, sizeof s->buffer);
            if (got <= 0) {
                if (n)
                    send(s->id, DATA, OUT, n);
                fail(s, got);
                return;
            }
            s->begin = 0;
            s->end = (u32)got;
        }
        struct dirent *entry = (struct dirent *)(s->buffer + s->begin);
        s->begin += entry->length;
        if (is_equal(entry->name, ".") || is_equal(entry->name, ".."))
            continue;
        long length = put_record(n, s->fd[OUT], entry->name, entry->name);
        n += length > 0 ? (u32)length : 0; /* gone since it was listed */
    }
    s->credit[OUT] -= n;
    if (n)
        send(s->id, DATA, OUT, n);
}

void make_directory(struct stream *s, const char *data, u32 n)
{
    if (n < 5) {
        fail(s, -EINVAL);
        return;
    }
    long result = call3(mkdirat, AT_FDCWD, data + 4, 0700);
    if (result >= 0)
        result = call3(fchmodat, AT_FDCWD, data + 4, *(const u32 *)data & 07777);
    fail(s, result);
}

/* "path NUL target": a link in the way is replaced, anything else is not. */
void make_symlink(struct stream *s, const char *data, u32 n)
{
    struct statx found;
    const char *target = data + length(data) + 1;
    if (target >= data + n) {
        fail(s, -EINVAL);
        return;
    }
    if (call5(statx, AT_FDCWD, data, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &found) == 0 &&
        (found.mode & S_IFMT) == S_IFLNK)
        call3(unlinkat, AT_FDCWD, data, 0);
    fail(s, call3(symlinkat, target, AT_FDCWD, data));
}
