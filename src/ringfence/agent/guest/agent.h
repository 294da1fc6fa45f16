/* The agent's parts: main.c has the port and the loop, exec.c processes, files.c files, system.c the rest. */
#ifndef AGENT_H
#define AGENT_H

#include "wire.h"

enum { IDLE = 0, RUN_PROCESS, READ_FILE, WRITE_FILE, LIST_FOLDER };

struct stream {
    u8 kind, is_tty, is_input_ended, has_exited;
    u16 id;
    int pid;              /* process and its group */
    int status;           /* as wait4 gives it */
    int fd[CHANNELS];     /* the agent's ends; -1 where there is none */
    u32 credit[CHANNELS]; /* what may be sent to the host */
    u32 freed;            /* input taken of which the host was not told yet */
    u32 begin, end;       /* what waits in `buffer` */
    u32 crc;
    u64 size, left;
    s64 modified_ns;
    u32 mode;
    char path[4096];
    char buffer[INPUT_WINDOW];
};

extern struct stream streams[STREAMS];

/* main.c */
struct frame { struct header header; u8 data[DATA_MAX]; };
extern struct frame out; /* the frame that is made up next */
void send(u16 stream, u8 type, u8 channel, u32 n);
void send_done(struct stream *s, u8 how, int value);
void finish(struct stream *s, u8 how, int value);
void fail(struct stream *s, long result);
void take_input(struct stream *s, u32 n);

/* users.c */
struct user { u32 uid, gid; char home[256]; };
/* "", "name", "uid", each with ":group" or ":gid"; 0 when there is no such one. */
int find_user(const char *text, struct user *user);

/* exec.c */
void exec_start(struct stream *s, char *data, u32 n);
void exec_input(struct stream *s, const char *data, u32 n);
void exec_flush(struct stream *s);
void exec_output(struct stream *s, int channel);
void exec_settle(struct stream *s);
void exec_signal(struct stream *s, int number);
void exec_resize(struct stream *s, struct resize *wanted);
void exec_reap(void);

/* files.c */
void file_read(struct stream *s);
void file_read_start(struct stream *s, const char *path);
void file_write_start(struct stream *s, const char *data, u32 n);
void file_write(struct stream *s, const char *data, u32 n);
void file_write_end(struct stream *s);
void file_cancel(struct stream *s);
void file_stat(struct stream *s, const char *path);
void list_start(struct stream *s, const char *path);
void list_continue(struct stream *s);
void make_directory(struct stream *s, const char *data, u32 n);
void make_symlink(struct stream *s, const char *data, u32 n);

/* system.c */
void set_clock(struct stream *s, const char *data, u32 n);
void set_hostname(struct stream *s, const char *name);
void add_entropy(struct stream *s, const char *data, u32 n);
void shut_down(struct stream *s, int how);
int find_port(void);

#endif
