#include "store/billing.h"

const char *event_reason_word(enum event_reason reason)
{
    static const char *const words[] = {
#define ROW(name, word, by_link) word,
        EVENT_REASONS(ROW)
#undef ROW
    };

    return (size_t)reason < count_of(words) ? words[reason] : NULL;
}
