/* The table of settings as text: what `manus settings` prints and the project's files hold. */
#pragma once

#include "core/settings.h"

/* .env.example */
char *settings_as_env(void *mem);

/* docs/settings.md */
char *settings_as_markdown(void *mem);

/* One object per setting; with its value and origin if `settings` is given. Secrets are masked. */
char *settings_as_json(void *mem, const struct settings *settings);

/* The values in force and where each came from, for a person. Secrets are masked. */
char *settings_as_values(void *mem, const struct settings *settings);
