/* Users and groups by their names or numbers: passwd(5), group(5). */
#include "agent.h"

enum { ACCOUNTS_BYTES = 65536 };

/* Field `n` of a line of passwd(5) or group(5); its end by `end`. */
static const char *field(const char *line, int n, const char **end)
{
    for (; n; n--) {
        while (*line && *line != ':' && *line != '\n')
            line++;
        if (*line == ':')
            line++;
    }
    for (*end = line; **end && **end != ':' && **end != '\n'; (*end)++)
        ;
    return line;
}

static int is_field(const char *line, int n, const char *text, const char *text_end)
{
    const char *end, *at = field(line, n, &end);
    while (at < end && text < text_end && *at == *text)
        at++, text++;
    return at == end && text == text_end;
}

/* The line whose name, or number (field 2), is this text. */
static const char *find_line(const char *path, const char *text, const char *end)
{
    static char accounts[ACCOUNTS_BYTES];
    read_file(path, accounts, sizeof accounts);
    for (const char *line = accounts; *line;) {
        if (is_field(line, 0, text, end) || is_field(line, 2, text, end))
            return line;
        while (*line && *line != '\n')
            line++;
        line += *line == '\n';
    }
    return 0;
}

int find_user(const char *text, struct user *user)
{
    const char *colon = text, *end;
    while (*colon && *colon != ':')
        colon++;
    if (colon == text)
        text = "0", end = text + 1;
    else
        end = colon;
    user->gid = 0;
    put_text(user->home, "/");
    const char *line = find_line("/etc/passwd", text, end);
    s64 uid = number(text, end), gid;
    if (line) {
        const char *stop, *at = field(line, 2, &stop);
        uid = number(at, stop);
        at = field(line, 3, &stop);
        gid = number(at, stop);
        user->gid = gid < 0 ? 0 : (u32)gid;
        at = field(line, 5, &stop);
        if (stop > at && stop - at < (long)sizeof user->home) {
            memcpy(user->home, at, stop - at);
            user->home[stop - at] = 0;
        }
    }
    if (uid < 0)
        return 0;
    user->uid = (u32)uid;
    if (*colon != ':')
        return 1;
    text = colon + 1, end = text + length(text);
    line = find_line("/etc/group", text, end);
    if (line) {
        const char *stop, *at = field(line, 2, &stop);
        gid = number(at, stop);
    } else {
        gid = number(text, end);
    }
    user->gid = (u32)gid;
    return gid >= 0;
}
