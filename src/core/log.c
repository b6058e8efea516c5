#include "core/log.h"

#include "core/clock.h"
#include "core/text.h"
#include "core/thread.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

enum { BUFFER_BYTES = 1 << 20, GATHER_BYTES = 64 << 10, NAP_MS = 4, STOP_S = 1 };
enum { BOUND_LINES = 20, BOUND_MS = 60000 };

static const char *const level_names[] = {"debug", "info", "warning", "error", "critical"};

static _Atomic int lowest_level = LOG_CRITICAL + 1;

/* The sink: one per process, as standard output is. `lines` is filled by everybody and swapped
 * with `writing` by the writer, which alone touches `writing`. */
static struct {
    int fd;
    enum log_format format;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t filled;
    char *lines, *writing;
    size_t len;
    uint64_t dropped;
    bool waiting, stopping;
} sink = {.lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER};

static __thread struct {
    char *lines;
    size_t len;
} gathered;

static uint64_t count_lines(const char *lines, size_t len)
{
    uint64_t count = 0;

    for (size_t i = 0; i < len; i++)
        count += lines[i] == '\n';
    return count;
}

static void hand_over(const char *lines, size_t len)
{
    pthread_mutex_lock(&sink.lock);
    assert(sink.len <= BUFFER_BYTES);
    if (sink.lines == NULL || BUFFER_BYTES - sink.len < len) {
        sink.dropped += count_lines(lines, len);
    } else {
        memcpy(sink.lines + sink.len, lines, len);
        sink.len += len;
        if (sink.waiting)
            pthread_cond_signal(&sink.filled);
    }
    pthread_mutex_unlock(&sink.lock);
}

void log_gather(void)
{
    assert(gathered.lines == NULL);
    gathered.lines = mem_malloc(GATHER_BYTES);
}

void log_hand_over(void)
{
    if (gathered.len > 0)
        hand_over(gathered.lines, gathered.len);
    gathered.len = 0;
}

void log_gather_end(void)
{
    assert(gathered.lines != NULL);
    log_hand_over();
    free(gathered.lines);
    gathered.lines = NULL;
}

static void put_line(const char *line, size_t len)
{
    assert(gathered.len <= GATHER_BYTES);
    if (gathered.lines == NULL || len > GATHER_BYTES) {
        hand_over(line, len);
        return;
    }
    if (GATHER_BYTES - gathered.len < len)
        log_hand_over();
    memcpy(gathered.lines + gathered.len, line, len);
    gathered.len += len;
}

static void write_all(const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(sink.fd, bytes, len);

        if (n > 0) {
            bytes += n;
            len -= (size_t)n;
        } else if (n < 0 && errno == EAGAIN) {
            poll(&(struct pollfd){.fd = sink.fd, .events = POLLOUT}, 1, -1);
        } else if (n < 0 && errno != EINTR) {
            return; /* nobody reads any more: there is nowhere left to say so */
        }
    }
}

static void write_out(void)
{
    char *lines;
    size_t len;
    uint64_t dropped;

    pthread_mutex_lock(&sink.lock);
    lines = sink.lines;
    len = sink.len;
    dropped = sink.dropped;
    sink.lines = sink.writing;
    sink.writing = lines;
    sink.len = 0;
    sink.dropped = 0;
    pthread_mutex_unlock(&sink.lock);

    write_all(lines, len);
    if (dropped > 0)
        log_warning(NULL, "log lines dropped: nobody read them in time", LOG_I("count", dropped));
}

static void *write_lines(void *unused)
{
    bool stopping = false;

    (void)unused;
    pthread_setname_np(pthread_self(), "log");
    while (!stopping) {
        pthread_mutex_lock(&sink.lock);
        while (sink.len == 0 && sink.dropped == 0 && !sink.stopping) {
            sink.waiting = true;
            pthread_cond_wait(&sink.filled, &sink.lock);
            sink.waiting = false;
        }
        stopping = sink.stopping;
        pthread_mutex_unlock(&sink.lock);
        /* A short nap gathers the lines of many requests into one write. */
        if (!stopping)
            nanosleep(&(struct timespec){.tv_nsec = NAP_MS * 1000000L}, NULL);
        write_out();
    }
    write_out(); /* a line about dropped lines, if there was one */
    return NULL;
}

void log_start(int fd, enum log_format format, enum log_level level)
{
    pthread_mutex_lock(&sink.lock);
    assert(sink.lines == NULL);
    sink.fd = fd;
    sink.format = format;
    sink.lines = mem_malloc(BUFFER_BYTES);
    sink.writing = mem_malloc(BUFFER_BYTES);
    sink.stopping = false;
    pthread_mutex_unlock(&sink.lock);
    if (thread_start(&sink.thread, write_lines, NULL) != 0)
        abort();
    log_set_level(level);
}

/* The writer swaps the buffers until it has ended. False: there is none. */
static bool end_writer(void)
{
    bool runs;

    pthread_mutex_lock(&sink.lock);
    runs = sink.lines != NULL;
    sink.stopping = true;
    pthread_cond_signal(&sink.filled);
    pthread_mutex_unlock(&sink.lock);
    return runs;
}

void log_stop(void)
{
    struct timespec until;

    if (!end_writer())
        return;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += STOP_S;
    if (pthread_timedjoin_np(sink.thread, NULL, &until) != 0)
        return; /* the reader is stuck; the thread still uses the buffers */
    log_set_level(LOG_CRITICAL + 1);
    pthread_mutex_lock(&sink.lock);
    free(take_ptr(sink.lines));
    free(take_ptr(sink.writing));
    sink.len = 0;
    pthread_mutex_unlock(&sink.lock);
}

void log_set_level(enum log_level level)
{
    assert((size_t)level <= count_of(level_names));
    atomic_store_explicit(&lowest_level, (int)level, memory_order_release);
}

bool log_wants(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&lowest_level, memory_order_acquire);
}

static void put_json(struct text *line, const struct log_field *field)
{
    text_add(line, ",\"");
    text_put(line, field->name, field->name_len);
    text_add(line, "\":");
    if (field->is_text)
        text_json(line, field->text, strlen(field->text));
    else
        text_int(line, field->number);
}

static bool is_plain_word(const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;

        if (c <= ' ' || c == '"' || c == '\\' || c == '=' || c >= 0x7f)
            return false;
    }
    return true;
}

static void put_text(struct text *line, const struct log_field *field)
{
    text_char(line, ' ');
    text_put(line, field->name, field->name_len);
    text_char(line, '=');
    if (!field->is_text)
        text_int(line, field->number);
    else if (is_plain_word(field->text))
        text_add(line, field->text);
    else
        text_json(line, field->text, strlen(field->text));
}

static void put_field(struct text *line, const struct log_field *field)
{
    if (field->is_text && field->text == NULL)
        return;
    if (sink.format == LOG_JSON)
        put_json(line, field);
    else
        put_text(line, field);
}

static void put_start(struct text *line, enum log_level level, const char *message)
{
    char time[TEXT_TIME_SIZE];

    text_time(time, clock_turn_wall_ms());
    if (sink.format == LOG_JSON) {
        text_add(line, "{\"time\":\"");
        text_put(line, time, TEXT_TIME_SIZE - 1);
        text_add(line, "\",\"level\":\"");
        text_add(line, level_names[level]);
        text_add(line, "\",\"msg\":");
        text_json(line, message, strlen(message));
    } else {
        text_put(line, time, TEXT_TIME_SIZE - 1);
        text_char(line, ' ');
        text_add(line, level_names[level]);
        text_char(line, ' ');
        text_add(line, message);
    }
}

bool log_bound_admits(struct log_bound *bound, unsigned *ret_left_out)
{
    int64_t now_ms = clock_mono_ms(), since_ms = atomic_load(&bound->since_ms);

    *ret_left_out = 0;
    if ((since_ms == 0 || now_ms - since_ms >= BOUND_MS) &&
        atomic_compare_exchange_strong(&bound->since_ms, &since_ms, now_ms)) {
        atomic_store(&bound->count, 1);
        *ret_left_out = atomic_exchange(&bound->left_out, 0);
        return true;
    }
    if (atomic_fetch_add(&bound->count, 1) < BOUND_LINES)
        return true;
    atomic_fetch_add(&bound->left_out, 1);
    return false;
}

void log_write(enum log_level level, const struct task *task, const char *message,
               const struct log_field *fields, size_t count)
{
    char buffer[2048];
    struct text line = text_borrow(NULL, buffer, sizeof buffer);

    assert((size_t)level < count_of(level_names));
    put_start(&line, level, message);
    if (task != NULL) {
        put_field(&line, &LOG_S("request_id", task->id));
        put_field(&line, &LOG_S("job", task->job));
        put_field(&line, &LOG_S("user_id", task->user_id));
    }
    for (size_t i = 0; i < count; i++)
        put_field(&line, &fields[i]);
    text_add(&line, sink.format == LOG_JSON ? "}\n" : "\n");
    put_line(line.s, line.len);
    if (!line.borrowed)
        talloc_free(line.s);
}
