/* What the parts of loading the settings share: settings.c chooses and keeps values,
 * settings_sources.c gives what the environment and the .env file hold, settings_value.c reads a
 * value by the type of its row, settings_paths.c finds what a path means, settings_together.c
 * checks settings against each other. On the thread that loads; memory is the loading's. */
#pragma once

#include "core/settings.h"

/* What is loaded from, and what is found wrong on the way. */
struct loading {
    void *mem;
    struct settings *settings;
    struct settings_report *report;
    struct given {
        const char *name, *value, *origin;
    } *given;
    size_t count;
    const char *file;
    const char *folder;          /* the file's; NULL: there is none */
    size_t lines[SETTING_COUNT]; /* which of the given the file set last, from 1; 0: none */
};

void settings_add_line(void *mem, const char ***lines, size_t *count, const char *line);

#define problem(l, ...)                                                                            \
    settings_add_line((l)->mem, &(l)->report->problems, &(l)->report->problem_count,               \
                      mem_printf((l)->mem, __VA_ARGS__))
#define warning(l, ...)                                                                            \
    settings_add_line((l)->mem, &(l)->report->warnings, &(l)->report->warning_count,               \
                      mem_printf((l)->mem, __VA_ARGS__))

/* settings.c: the row of that name, in any letter case; NULL if there is none. */
const struct setting_row *setting_row_of(const char *name);

/* settings_sources.c: adds what the environment holds, and what the file does (NULL: .env, which
 * may be missing). */
void settings_give_environment(struct loading *l, char **environment);
void settings_give_file(struct loading *l, const char *path);

/* The last of the given that has this name: the environment stands behind the file. A name spelled
 * exactly wins over one in other letter case from the same place. NULL: there is none. */
const struct given *settings_find(const struct loading *l, const char *name);

/* The secret in the file that NAME_FILE names, without its closing newline; NULL after a problem.
 */
const char *settings_read_secret(struct loading *l, const struct setting_row *row,
                                 const char *path);

/* Warns of names that no setting has but that were meant for one, and keeps limits of routes for
 * whoever knows the routes. */
void settings_warn_of_unknown(struct loading *l);

/* Wipes what the file gave: everything that is kept was copied. */
void settings_wipe_given(struct loading *l);

/* Whether the value is one that was to be filled in. <ann@example.com> is a sender. */
bool setting_is_template(const char *value);

/* tcp://10.0.0.7:80, as Kubernetes and Docker links write the place of a service. */
bool settings_is_service(const char *value);

/* settings_value.c: sets the row's member; false after a problem. */
bool setting_parse(struct loading *l, const struct setting_row *row, const char *value);

/* At most 60 bytes of a value, with what would disturb a terminal made visible. */
const char *settings_shown(void *mem, const char *value);

/* settings_paths.c: the folder of a file that is one: what comes by a pipe has none (NULL). */
const char *settings_folder_of(void *mem, const char *file);

/* Where a setting names a path, in the environment from the working folder, else from the file's:
 * so a command means the same store wherever it is run. */
const char *settings_place(const struct loading *l, const char *origin, const char *path);

/* Makes paths absolute, and checks whose the store's folder is. */
void settings_place_paths(struct loading *l);
void settings_check_data_dir(struct loading *l);

/* settings_together.c */
void settings_check_together(struct loading *l);
