/* Processes: started as a user asks, their streams, their end. */
#include "agent.h"

enum { ARGUMENTS_MAX = 1024 };

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static const char *arguments[ARGUMENTS_MAX + 1], *variables[ARGUMENTS_MAX + 3];

/* -- the child -- */

static const char *variable(const char *name)
{
    size n = length(name);
    for (int i = 0; variables[i]; i++)
        if (starts(variables[i], name) && variables[i][n] == '=')
            return variables[i] + n + 1;
    return 0;
}

static void complain(const char *what, const char *why)
{
    static char line[8192];
    char *at = put_text(line, "exec: ");
    size n = length(what);
    memcpy(at, what, n > 4096 ? 4096 : n);
    at = put_text(put_text(at + (n > 4096 ? 4096 : n), why), "\n");
    write(2, line, at - line);
}

/* execve by PATH, as execvp(3) does; comes back with an error. */
static long execute(void)
{
    static char path[8192];
    const char *name = arguments[0];
    long error = -ENOENT;
    size n = length(name);
    for (const char *at = name; *at; at++)
        if (*at == '/')
            return call3(execve, name, arguments, variables);
    if (!n || n > 255)
        return error;
    for (const char *at = variable("PATH"); at;) {
        const char *end = at;
        while (*end && *end != ':')
            end++;
        if ((size)(end - at) < sizeof path - 300) {
            memcpy(path, at, end - at);
            path[end - at] = '/';
            memcpy(path + (end - at) + (end > at), name, n + 1);
            long result = call3(execve, path, arguments, variables);
            if (result != -ENOENT && result != -ENOTDIR)
                error = result;
        }
        at = *end ? end + 1 : 0;
    }
    return error;
}

struct child { struct user user; const char *folder; int standard[3]; int is_tty; };

static void become(const void *given)
{
    const struct child *child = given;
    const struct user *user = &child->user;
    u64 none = 0;
    call0(setsid);
    for (int i = 0; i < 3; i++)
        call2(dup2, child->standard[i], i);
    if (child->is_tty)
        call3(ioctl, 0, TIOCSCTTY, 0);
    if (call2(setgroups, 1, &user->gid) | call1(setgid, user->gid) | call1(setuid, user->uid)) {
        complain(arguments[0], ": not as that user");
        call1(exit, 126);
    }
    if (call1(chdir, child->folder) < 0) {
        complain(child->folder, ": no such directory");
        call1(exit, 126);
    }
    call4(rt_sigprocmask, SIG_SETMASK, &none, 0, 8);
    long error = execute();
    complain(arguments[0], error == -ENOENT ? ": not found" : ": cannot be run");
    call1(exit, error == -ENOENT ? 127 : 126);
}

/* vfork(2) with a stack of its own: the child has our memory until it executes, and we wait, so that no page
   table is copied. */
static long spawn(const struct child *child)
{
    static u8 stack[16384] __attribute__((aligned(16)));
    return clone(CLONE_VM | CLONE_VFORK | SIGCHLD, stack + sizeof stack, become, child);
}

/* -- its start -- */

/* The next string of a frame; 0 at its end. Frames end with a NUL. */
static const char *next(char **at, char *end)
{
    char *text = *at;
    if (text >= end)
        return 0;
    *at = text + length(text) + 1;
    return text;
}

static int open_terminal(struct exec *exec)
{
    char path[32];
    int number = 0, unlocked = 0;
    int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK, 0);
    struct winsize size = {exec->rows, exec->columns, 0, 0};
    if (master < 0)
        return master;
    call3(ioctl, master, TIOCSPTLCK, &unlocked);
    call3(ioctl, master, TIOCGPTN, &number);
    call3(ioctl, master, TIOCSWINSZ, &size);
    put_number(put_text(path, "/dev/pts/"), (u32)number);
    int slave = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC, 0);
    if (slave < 0) {
        close(master);
        return slave;
    }
    return master << 16 | slave;
}

/* A pipe whose end `ours` is the agent's, and does not block. */
static int open_pipe(int *ends, int ours)
{
    long result = call2(pipe2, ends, O_CLOEXEC);
    if (result >= 0)
        call3(fcntl, ends[ours], F_SETFL, O_NONBLOCK | (ours ? O_WRONLY : O_RDONLY));
    return (int)result;
}

static long open_streams(struct stream *s, struct exec *exec, int *standard)
{
    int ends[2], result;
    if (s->is_tty) {
        result = open_terminal(exec);
        if (result < 0)
            return result;
        s->fd[OUT] = result >> 16;
        s->fd[IN] = (int)call3(fcntl, s->fd[OUT], 1030 /* F_DUPFD_CLOEXEC */, 3);
        standard[0] = standard[1] = standard[2] = result & 0xFFFF;
        return 0;
    }
    for (int i = 0; i < 3; i++) {
        if (i == IN && !(exec->flags & EXEC_INPUT)) {
            standard[i] = open("/dev/null", O_RDONLY | O_CLOEXEC, 0);
            continue;
        }
        if ((result = open_pipe(ends, i == IN)) < 0)
            return result;
        s->fd[i] = ends[i == IN];
        standard[i] = ends[i != IN];
    }
    return 0;
}

void exec_start(struct stream *s, char *data, u32 n)
{
    struct exec *exec = (struct exec *)data;
    char *at = data + sizeof *exec, *end = data + n;
    static struct child child;
    static char home[300];
    int *standard = child.standard, count = 0;
    if (n < sizeof *exec || exec->arguments < 1 || exec->arguments > ARGUMENTS_MAX ||
        exec->variables > ARGUMENTS_MAX) {
        fail(s, -EINVAL);
        return;
    }
    const char *who = next(&at, end), *folder = next(&at, end);
    for (int i = 0; i < exec->arguments; i++)
        if (!(arguments[i] = next(&at, end))) {
            fail(s, -EINVAL);
            return;
        }
    arguments[exec->arguments] = 0;
    while (count < exec->variables && (variables[count] = next(&at, end)))
        count++;
    variables[count] = 0;
    if (!find_user(who, &child.user)) {
        fail(s, -EACCES);
        return;
    }
    if (!variable("PATH"))
        variables[count++] = "PATH=" DEFAULT_PATH, variables[count] = 0;
    if (!variable("HOME")) {
        put_text(put_text(home, "HOME="), child.user.home);
        variables[count++] = home, variables[count] = 0;
    }
    s->kind = RUN_PROCESS;
    s->is_tty = child.is_tty = exec->flags & EXEC_TTY;
    child.folder = *folder ? folder : child.user.home;
    standard[0] = standard[1] = standard[2] = -1;
    long result = open_streams(s, exec, standard);
    if (result >= 0)
        result = spawn(&child);
    for (int i = 0; i < (s->is_tty ? 1 : 3); i++)
        if (standard[i] >= 0)
            close(standard[i]);
    if (result < 0)
        fail(s, result);
    s->pid = (int)result;
}

/* -- its streams -- */

void exec_input(struct stream *s, const char *data, u32 n)
{
    if (s->fd[IN] < 0) { /* it closed its input: take it and drop it, so that the sender is not stuck */
        take_input(s, n);
        return;
    }
    if (n > INPUT_WINDOW - (s->end - s->begin))
        n = INPUT_WINDOW - (s->end - s->begin);
    if (s->end + n > INPUT_WINDOW) {
        memmove(s->buffer, s->buffer + s->begin, s->end - s->begin);
        s->end -= s->begin;
        s->begin = 0;
    }
    memcpy(s->buffer + s->end, data, n);
    s->end += n;
    exec_flush(s);
}

/* Hand on what input waits, and its end after it. */
void exec_flush(struct stream *s)
{
    while (s->begin < s->end && s->fd[IN] >= 0) {
        long n = write(s->fd[IN], s->buffer + s->begin, s->end - s->begin);
        if (n == -EAGAIN || n == -EINTR)
            return;
        if (n < 0) { /* nobody reads any more */
            close(s->fd[IN]);
            s->fd[IN] = -1;
            n = s->end - s->begin;
        }
        s->begin += (u32)n;
        take_input(s, (u32)n);
    }
    if (s->begin == s->end)
        s->begin = s->end = 0;
    if (!s->is_input_ended || s->begin < s->end || s->fd[IN] < 0)
        return;
    if (s->is_tty)
        write(s->fd[IN], "\4", 1); /* a terminal has no end; Ctrl-D says it */
    close(s->fd[IN]);
    s->fd[IN] = -1;
}

void exec_output(struct stream *s, int channel)
{
    u32 room = s->credit[channel] < DATA_MAX ? s->credit[channel] : DATA_MAX;
    long n = read(s->fd[channel], out.data, room);
    if (n == -EAGAIN || n == -EINTR)
        return;
    if (n <= 0) { /* the end; of a terminal it is an error */
        close(s->fd[channel]);
        s->fd[channel] = -1;
        send(s->id, END, (u8)channel, 0);
        return;
    }
    s->credit[channel] -= (u32)n;
    send(s->id, DATA, (u8)channel, (u32)n);
}

/* -- its end -- */

void exec_reap(void)
{
    int pid, status;
    while ((pid = (int)call4(wait4, -1, &status, WNOHANG, 0)) > 0)
        for (int i = 0; i < STREAMS; i++)
            if (streams[i].kind == RUN_PROCESS && streams[i].pid == pid) {
                streams[i].has_exited = 1;
                streams[i].status = status;
            }
}

/* The process has gone: pass on what it wrote, then its status. Others may hold its pipes open for ever. */
void exec_settle(struct stream *s)
{
    for (int channel = OUT; channel < CHANNELS; channel++)
        while (s->fd[channel] >= 0) {
            u32 before = s->credit[channel];
            if (!before)
                return; /* until the host takes what it has */
            exec_output(s, channel);
            if (s->fd[channel] >= 0 && s->credit[channel] == before) {
                if (s->is_tty)
                    return; /* its buffers are passed on by another thread; the end comes for sure */
                break;
            }
        }
    if ((s->status & 0x7F) == 0)
        finish(s, EXITED, s->status >> 8 & 0xFF);
    else
        finish(s, KILLED, s->status & 0x7F);
}

void exec_signal(struct stream *s, int number)
{
    if (s->pid > 0 && number > 0 && number <= SIGNALS && !s->has_exited)
        call2(kill, -s->pid, number);
}

void exec_resize(struct stream *s, struct resize *wanted)
{
    struct winsize size = {wanted->rows, wanted->columns, 0, 0};
    if (s->kind == RUN_PROCESS && s->is_tty && s->fd[OUT] >= 0)
        call3(ioctl, s->fd[OUT], TIOCSWINSZ, &size);
}
