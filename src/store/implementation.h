/* The implementations' side of the store. Each store fills in a table of functions for each topic
 * of store/operations.def, and begins with a struct store; what holds for every operation of every
 * store is done before it is asked (store/store.c): its task's deadline has not passed, or has been
 * put off a little, and no thread of a loop waits. What waits within it does so until that deadline
 * at the longest. */
#pragma once

#include "store/store.h"

/* By which metrics tell operations apart. */
enum store_operation {
#define STORE_OPERATION(topic, name, when, work, parameters, arguments) OPERATION_##name,
#define STORE_OPERATION_LATER(topic, name, operation, parameters, arguments)
#include "store/operations.def"
};

/* struct store_users_operations and so on. */
#define STORE_TOPIC(topic) struct store_##topic##_operations {
#define STORE_TOPIC_END(topic)                                                                     \
    }                                                                                              \
    ;
#define STORE_OPERATION(topic, name, when, work, parameters, arguments) enum err(*name) parameters;
#include "store/operations.def"

struct store_operations {
#define STORE_TOPIC(topic) const struct store_##topic##_operations *topic;
#define STORE_TOPIC_END(topic)
#include "store/operations.def"
    void (*expire)(struct store *store);
    void (*close)(struct store *store);
};

/* First member of every implementation's struct. */
struct store {
    const struct store_operations *operations;
    const char *name;
    void (*tell)(void *arg, enum store_work work);
    void *tell_arg;
    const char *notice;
};

/* Tells whoever handed a write over: the store touches it no more. */
void store_later_end(struct store_later *later, enum err e);
