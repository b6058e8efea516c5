#include "core/metrics.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>

enum buckets {
#define BUCKETS(member, ...) BUCKETS_##member,
#include "core/metrics.def"
};

static const struct bounds {
    const int64_t *us;
    unsigned count;
} buckets[] = {
#define BUCKETS(member, ...)                                                                       \
    {(const int64_t[]){__VA_ARGS__}, sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)},
#include "core/metrics.def"
};

static struct label {
    const char *name, *help;
    const char *const *values;
    unsigned count;
} labels[] = {
#define LABEL(member, name, help, ...)                                                             \
    {(name), (help), (const char *const[]){"", ##__VA_ARGS__} + 1,                                 \
     sizeof((const char *const[]){"", ##__VA_ARGS__}) / sizeof(char *) - 1},
#include "core/metrics.def"
};

static const struct row {
    const char *type, *name, *help;
    enum metric_label label, second;
    const struct bounds *bounds; /* NULL: no histogram */
} rows[] = {
#define METRIC(member, type, name, label, second, help)                                            \
    {#type, (name), (help), LABEL_##label, LABEL_##second, NULL},
#define HISTOGRAM(member, name, label, buckets_, help)                                             \
    {"histogram", (name), (help), LABEL_##label, LABEL_none, &buckets[BUCKETS_##buckets_]},
#include "core/metrics.def"
};

/* What a thread has counted. Of a histogram: each bucket, what is beyond them, the sum. A block is
 * never freed: when its thread ends, the next one goes on with it. */
struct block {
    struct block *next, *spare;
    _Atomic(int64_t) cells[] __attribute__((aligned(64)));
};

static unsigned first_cells[METRIC_COUNT], cell_count;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct block *spare;                /* under the lock */
static _Atomic(struct block *) all_blocks; /* what is in it stays */
static bool is_laid_out;
static __thread struct block *own;

static _Atomic(int64_t) gauges[METRIC_COUNT];
static struct {
    metric_read *read;
    const void *arg;
} readers[METRIC_COUNT];

static unsigned cells_of(const struct row *row)
{
    return row->bounds == NULL ? 1 : row->bounds->count + 2;
}

static unsigned series_of(const struct row *row)
{
    return labels[row->label].count * labels[row->second].count;
}

static void give_back(void *block)
{
    own = NULL;
    pthread_mutex_lock(&lock);
    ((struct block *)block)->spare = spare;
    spare = block;
    pthread_mutex_unlock(&lock);
}

static void lay_out(void)
{
    assert(!is_laid_out);
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        first_cells[i] = cell_count;
        cell_count += cells_of(&rows[i]) * series_of(&rows[i]);
    }
    is_laid_out = true;
    if (pthread_key_create(&key, give_back) != 0) {
        fputs("manus: no thread key is left\n", stderr);
        abort();
    }
}

/* Under the lock. Pages of its own: no core's cache lines are another's, and what is never counted
 * takes no memory. */
static struct block *new_block(void)
{
    struct block *block = mmap(NULL, sizeof *block + cell_count * sizeof block->cells[0],
                               PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert(is_laid_out);
    if (block == MAP_FAILED) {
        fputs("manus: out of memory\n", stderr);
        abort();
    }
    block->next = atomic_load_explicit(&all_blocks, memory_order_relaxed);
    atomic_store_explicit(&all_blocks, block, memory_order_release);
    return block;
}

static struct block *take_block(void)
{
    pthread_once(&once, lay_out);
    pthread_mutex_lock(&lock);
    own = spare == NULL ? new_block() : spare;
    if (own == spare)
        spare = own->spare;
    pthread_mutex_unlock(&lock);
    pthread_setspecific(key, own);
    return own;
}

static struct block *own_block(void)
{
    return __builtin_expect(own != NULL, 1) ? own : take_block();
}

/* Its thread alone writes it. */
static void add(_Atomic(int64_t) *cell, int64_t count)
{
    int64_t value = atomic_load_explicit(cell, memory_order_relaxed);

    atomic_store_explicit(cell, value + count, memory_order_relaxed);
}

void metric_name_values(enum metric_label label, const char *const *values, unsigned count)
{
    assert(!is_laid_out);
    assert(label < LABEL_COUNT && values != NULL);
    labels[label].values = values;
    labels[label].count = count;
}

void metric_add(enum metric metric, int64_t count)
{
    metric_add_of(metric, 0, 0, count);
}

void metric_add_of(enum metric metric, unsigned value, unsigned second, int64_t count)
{
    struct block *block = own_block();
    const struct row *row = &rows[metric];
    unsigned seconds = labels[row->second].count;

    if (value < labels[row->label].count && second < seconds)
        add(&block->cells[first_cells[metric] + value * seconds + second], count);
}

void metric_observe(enum metric metric, unsigned value, int64_t us)
{
    struct block *block = own_block();
    const struct row *row = &rows[metric];
    const struct bounds *bounds = row->bounds;
    _Atomic(int64_t) *cells;
    unsigned bucket = 0;

    assert(bounds != NULL);
    if (value >= labels[row->label].count)
        return;
    cells = &block->cells[first_cells[metric] + value * cells_of(row)];
    if (us < 0)
        us = 0;
    while (bucket < bounds->count && us > bounds->us[bucket])
        bucket++;
    add(&cells[bucket], 1);
    add(&cells[bounds->count + 1], us);
}

void metric_set(enum metric metric, int64_t value)
{
    assert(rows[metric].label == LABEL_none);
    atomic_store_explicit(&gauges[metric], value, memory_order_relaxed);
}

void metric_read_by(enum metric metric, metric_read *read, const void *arg)
{
    assert(rows[metric].bounds == NULL);
    readers[metric].read = read;
    readers[metric].arg = arg;
}

/* Printing */

static int64_t *add_up(void)
{
    int64_t *totals;

    pthread_once(&once, lay_out);
    totals = mem_malloc((cell_count + 1) * sizeof *totals);
    memset(totals, 0, (cell_count + 1) * sizeof *totals);
    for (struct block *block = atomic_load_explicit(&all_blocks, memory_order_acquire);
         block != NULL; block = block->next) {
        for (unsigned i = 0; i < cell_count; i++)
            totals[i] += atomic_load_explicit(&block->cells[i], memory_order_relaxed);
    }
    return totals;
}

/* A backslash and a line break are escaped, in a label's value the quote too. */
static void put_escaped(struct text *out, const char *text, const char *which)
{
    for (; *text != '\0'; text++) {
        if (*text == '\n') {
            text_add(out, "\\n");
            continue;
        }
        if (strchr(which, *text) != NULL)
            text_char(out, '\\');
        text_char(out, *text);
    }
}

static void put_label(struct text *out, const struct label *label, unsigned value)
{
    if (label->name == NULL)
        return;
    text_char(out, out->len > 0 && out->s[out->len - 1] == '"' ? ',' : '{');
    text_add(out, label->name);
    text_add(out, "=\"");
    assert(value < label->count);
    put_escaped(out, label->values[value], "\\\"");
    text_char(out, '"');
}

/* name_suffix{labels,le="…"} */
static void put_series(struct text *out, const struct row *row, const char *suffix, unsigned series,
                       const char *le)
{
    const struct label *label = &labels[row->label], *second = &labels[row->second];

    text_add(out, row->name);
    text_add(out, suffix);
    put_label(out, label, series / second->count);
    put_label(out, second, series % second->count);
    if (le != NULL) {
        text_add(out, out->s[out->len - 1] == '"' ? ",le=\"" : "{le=\"");
        text_add(out, le);
        text_char(out, '"');
    }
    text_add(out, out->s[out->len - 1] == '"' ? "} " : " ");
}

/* In seconds: 0.0025 */
static void put_seconds(struct text *out, int64_t us)
{
    text_printf(out, "%lld.%06lld", (long long)(us / 1000000), (long long)(us % 1000000));
    while (out->s[out->len - 1] == '0')
        out->s[--out->len] = '\0';
    if (out->s[out->len - 1] == '.')
        out->s[--out->len] = '\0';
}

static void put_value(struct text *out, int64_t value)
{
    text_int(out, value);
    text_char(out, '\n');
}

static bool is_left_out(const struct row *row, const int64_t *cells)
{
    for (unsigned i = 0; i <= row->bounds->count; i++) {
        if (cells[i] != 0)
            return false;
    }
    return row->label != LABEL_none;
}

static void put_histogram(struct text *out, const struct row *row, unsigned series,
                          const int64_t *cells)
{
    unsigned count = row->bounds->count;
    int64_t total = 0;

    assert(row->bounds != NULL);
    for (unsigned i = 0; i <= count; i++) {
        char buffer[32];
        struct text le = text_borrow(NULL, buffer, sizeof buffer);

        if (i < count)
            put_seconds(&le, row->bounds->us[i]);
        else
            text_add(&le, "+Inf");
        total += cells[i];
        put_series(out, row, "_bucket", series, le.s);
        put_value(out, total);
    }
    put_series(out, row, "_sum", series, NULL);
    put_seconds(out, cells[count + 1]);
    text_char(out, '\n');
    put_series(out, row, "_count", series, NULL);
    put_value(out, total);
}

/* What a counter or gauge is now; METRIC_UNKNOWN: that is not known. */
static int64_t value_of(enum metric metric, unsigned series, int64_t counted)
{
    int64_t set = atomic_load_explicit(&gauges[metric], memory_order_relaxed);

    if (readers[metric].read != NULL)
        return readers[metric].read(readers[metric].arg, series);
    return set == METRIC_UNKNOWN ? METRIC_UNKNOWN : set + counted;
}

static void put_head(struct text *out, const struct row *row)
{
    text_printf(out, "# HELP %s ", row->name);
    put_escaped(out, row->help, "\\");
    text_printf(out, "\n# TYPE %s %s\n", row->name, row->type);
}

static void print_row(struct text *out, enum metric metric, const int64_t *cells)
{
    const struct row *row = &rows[metric];
    bool has_head = false;

    for (unsigned series = 0; series < series_of(row); series++, cells += cells_of(row)) {
        int64_t value = row->bounds == NULL ? value_of(metric, series, *cells) : 0;

        if (row->bounds == NULL ? value == METRIC_UNKNOWN : is_left_out(row, cells))
            continue;
        if (!has_head)
            put_head(out, row);
        has_head = true;
        if (row->bounds != NULL) {
            put_histogram(out, row, series, cells);
            continue;
        }
        put_series(out, row, "", series, NULL);
        put_value(out, value);
    }
}

void metrics_print(struct text *out)
{
    int64_t *totals = add_up();

    for (unsigned i = 0; i < METRIC_COUNT; i++)
        print_row(out, (enum metric)i, &totals[first_cells[i]]);
    free(totals);
}

/* For people */

static void put_label_row(struct text *out, size_t i)
{
    const struct label *label = &labels[i];

    if (label->name == NULL)
        return;
    text_printf(out, "| `%s` | %s | ", label->name, label->help);
    for (unsigned value = 0; value < label->count; value++)
        text_printf(out, "%s`%s`", value == 0 ? "" : ", ", label->values[value]);
    text_add(out, " |\n");
}

static void put_metric_row(struct text *out, const struct row *row)
{
    text_printf(out, "| `%s` | %s | ", row->name, row->type);
    if (labels[row->label].name != NULL)
        text_printf(out, "`%s`", labels[row->label].name);
    if (labels[row->second].name != NULL)
        text_printf(out, ", `%s`", labels[row->second].name);
    text_printf(out, " | %s", row->help);
    for (unsigned i = 0; row->bounds != NULL && i < row->bounds->count; i++) {
        text_add(out, i == 0 ? " Buckets to " : ", ");
        put_seconds(out, row->bounds->us[i]);
    }
    text_add(out, row->bounds != NULL ? " s. |\n" : " |\n");
}

char *metrics_as_markdown(void *mem)
{
    struct text out = text_open(mem, 8192);

    text_add(&out,
             "# Metrics\n\n`manus metrics` makes this page from the table of metrics. `/metrics` "
             "prints them in the text format of Prometheus, version 0.0.4, for administrators and "
             "for the holder of `METRICS_TOKEN`. Which ones to alert on: "
             "[monitoring](monitoring.md#what-to-alert-on).\n\nThe values are those of one "
             "process since its start. A gauge is absent while its value is unknown. A histogram "
             "is absent for label values that have not been counted yet.\n\n"
             "| name | type | labels | what it is |\n|---|---|---|---|\n");
    for (size_t i = 0; i < METRIC_COUNT; i++)
        put_metric_row(&out, &rows[i]);
    text_add(&out, "\n| label | what it is | values |\n|---|---|---|\n");
    for (size_t i = 0; i < LABEL_COUNT; i++)
        put_label_row(&out, i);
    return out.s;
}
