/* The agent protocol, docs/design/agent.md. Little-endian, as the machine is; agent/wire.py has the same for the host. */
#ifndef WIRE_H
#define WIRE_H

#include "sys.h"

enum { MAGIC = 0x47414652 /* "RFAG" */, VERSION = 1 };

/* A frame: this header, then `length` bytes. */
struct header { u32 length; u16 stream; u8 type; u8 channel; };

enum {
    FRAME_MAX = 32768, /* the most that one write to the port carries */
    DATA_MAX = FRAME_MAX - sizeof(struct header),
    STREAMS = 32,
    INPUT_WINDOW = 128 << 10, /* bytes the host may send on a stream before it is told of room */
    OUTPUT_WINDOW = 256 << 10,
};

enum {
    HELLO = 1, /* both ways: forget all streams; u32 magic, u16 version, u16 0, u64 nonce */
    /* from the host, on a stream: */
    EXEC = 16, SIGNAL = 17, RESIZE = 18, CANCEL = 19,
    READ = 24, WRITE = 25, STAT = 26, LIST = 27, MAKE_DIRECTORY = 28, SYMLINK = 29,
    CLOCK = 32, HOSTNAME = 33, ENTROPY = 34, SHUTDOWN = 35,
    /* both ways: */
    DATA = 48, END = 49, WINDOW = 50,
    /* from the guest, the last of each stream: */
    DONE = 64,
};

enum { IN = 0, OUT = 1, ERR = 2, CHANNELS = 3 };
enum { EXEC_TTY = 1, EXEC_INPUT = 2 };
enum { EXITED = 0, KILLED = 1, FAILED = 2 };
enum { POWER_OFF = 0, REBOOT = 1 };

struct hello { u32 magic; u16 version; u16 zero; u64 nonce; };
/* user, working directory, arguments, environment follow, each with a NUL. */
struct exec { u8 flags; u8 zero; u16 rows, columns, arguments, variables; };
struct resize { u16 rows, columns; };
/* path follows */
struct write { u32 mode; u32 zero; u64 size; s64 modified_ns; };
struct done { u8 how; u8 zero[3]; int value; u32 crc; u32 zero2; u64 size; };
/* name and link's target follow, without NULs */
struct record { u32 mode, uid, gid; u16 name_length, link_length; u64 size; s64 modified_ns; };

/* The same for every compiler. */
_Static_assert(sizeof(struct hello) == 16 && sizeof(struct write) == 24 && sizeof(struct done) == 24 &&
               sizeof(struct record) == 32, "padding");

#endif
