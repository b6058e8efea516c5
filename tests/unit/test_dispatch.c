#include "http/dispatch.h"
#include "http/reply.h"

#include "unit.h"

static enum err pass(struct request *req)
{
    (void)req;
    return OK;
}

static bool bar_nobody(struct request *req)
{
    (void)req;
    return false;
}

static const struct settings *no_settings(void *app)
{
    static struct settings settings;

    (void)app;
    return &settings;
}

static enum err answer_at_length(struct request *req)
{
    struct text body = text_open(req->task.mem, 100);

    for (int i = 0; i < 40; i++)
        text_printf(&body, "%0*d", 1 << 20, i);
    return reply_json_text(req, 200, body.s, body.len);
}

static enum err hoard(struct request *req)
{
    for (int i = 0; i < 40; i++)
        mem_zero(req->task.mem, 1 << 20);
    return reply_empty(req, 204);
}

static enum err answer(struct request *req)
{
    return reply_empty(req, 204);
}

static const struct route rows[] = {
    {.method = "GET", .path = "/length", .handle = answer_at_length},
    {.method = "GET", .path = "/hoard", .handle = hoard},
    {.method = "GET", .path = "/answer", .handle = answer},
    {0},
};

static int status_of(void *mem, struct worker *worker, const char *path)
{
    void *tree = mem_tree(4096);
    struct request *req = mem_new(tree, struct request);
    struct address peer = {0};
    int status;

    mem_cap(tree);
    req->task.mem = tree;
    req->method = "GET";
    req->path = req->target = path;
    worker->app = mem_new(mem, struct server_app);
    *(struct server_app *)(void *)worker->app = (struct server_app){.router = router_new(mem, rows),
                                                                    .settings = no_settings,
                                                                    .bar = bar_nobody,
                                                                    .gate = pass,
                                                                    .admit = pass,
                                                                    .prepare = pass};
    assert_int_equal(dispatch_head(worker, req, &peer), DISPATCH_GOES_ON);
    assert_int_equal(dispatch_body(worker, req, NULL), DISPATCH_ANSWERED);
    status = req->reply.status;
    if (status == 500)
        assert_non_null(strstr(req->reply.body, "Internal server error"));
    talloc_free(tree);
    return status;
}

static void a_request_that_needs_more_memory_than_one_may_have_ends_alone(void **state)
{
    struct worker *worker = mem_new(*state, struct worker);

    assert_int_equal(status_of(*state, worker, "/length"), 500);
    assert_int_equal(status_of(*state, worker, "/hoard"), 500);
    assert_int_equal(status_of(*state, worker, "/answer"), 204);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(a_request_that_needs_more_memory_than_one_may_have_ends_alone),
    };

    return RUN_UNITS(tests);
}
