#include "remote/advice.h"

#include "remote/stripe.h"

#include <string.h>

enum { WORDS = 10, SAID = 3 };

/* The first row that fits: one of its words is Stripe's code or decline_code, and `param` stands in
 * the parameter's name; or Stripe's message holds one of `said`, for what has no code; or the
 * status is that. */
static const struct advice {
    const char *words[WORDS], *param, *said[SAID];
    int status;
    bool needs_portal;
    struct phrase phrase;
} rows[] = {
    {.words = {"authentication_required", "subscription_payment_intent_requires_action",
               "invoice_payment_intent_requires_action", "payment_intent_action_required",
               "payment_intent_authentication_failure", "setup_intent_authentication_failure",
               "authentication_not_handled", "offline_pin_required"},
     .needs_portal = true,
     .phrase = {{"Your bank wants you to confirm the payment: confirm it in the portal, then try "
                 "again",
                 "يطلب مصرفك تأكيد الدفعة: أكّدها في البوابة ثم حاول مجددًا"}}},
    {.words = {"insufficient_funds", "withdrawal_count_limit_exceeded", "card_velocity_exceeded"},
     .needs_portal = true,
     .phrase = {{"The card does not have enough funds: use another card in the portal, or try "
                 "again later",
                 "رصيد البطاقة غير كافٍ: استخدم بطاقة أخرى في البوابة، أو حاول لاحقًا"}}},
    {.words = {"expired_card", "invalid_expiry_month", "invalid_expiry_year"},
     .needs_portal = true,
     .phrase = {{"The card has expired: add a valid one in the portal, then try again",
                 "انتهت صلاحية البطاقة: أضف بطاقة صالحة في البوابة ثم حاول مجددًا"}}},
    {.words = {"incorrect_number", "invalid_number", "incorrect_cvc", "invalid_cvc",
               "incorrect_zip", "incorrect_address", "incorrect_pin", "invalid_pin",
               "invalid_account"},
     .needs_portal = true,
     .phrase = {{"The card's details are not right: enter them again in the portal, then try again",
                 "بيانات البطاقة غير صحيحة: أدخلها من جديد في البوابة ثم حاول مجددًا"}}},
    {.words = {"processing_error", "issuer_not_available", "try_again_later",
               "reenter_transaction"},
     .phrase = {{"The bank could not process the payment: try again in some minutes",
                 "تعذّر على المصرف معالجة الدفعة: حاول مجددًا بعد بضع دقائق"}}},
    {.words = {"resource_missing"},
     .param = "default_payment_method",
     .said = {"no attached payment source", "default payment method"},
     .needs_portal = true,
     .phrase = {{"No payment method is stored: add one in the portal, then try again",
                 "لا توجد وسيلة دفع محفوظة: أضف واحدة في البوابة ثم حاول مجددًا"}}},
    {.words = {"currency_mismatch"},
     .said = {"cannot combine currencies", "match the customer currency",
              "match the expected currency"},
     .phrase = {{"This plan is sold in another currency than what you have already: ask for help "
                 "to change the currency",
                 "تُباع هذه الخطة بعملة تختلف عمّا لديك: اطلب المساعدة لتغيير العملة"}}},
    {.words = {"resource_missing"},
     .param = "price",
     .said = {"price specified is inactive", "only accepts active prices"},
     .phrase = {{"This plan cannot be bought at the moment, and that is ours to mend: ask for help",
                 "لا يمكن شراء هذه الخطة حاليًا، والخلل من جانبنا: اطلب المساعدة"}}},
    {.words = {"rate_limit", "lock_timeout"},
     .status = 429,
     .phrase = {{"The payment provider is asked too much at the moment: wait a minute, then try "
                 "again",
                 "الطلبات إلى مزوّد الدفع كثيرة الآن: انتظر دقيقة ثم حاول مجددًا"}}},
    {.words = {"card_declined"},
     .status = 402,
     .needs_portal = true,
     .phrase = {{"The payment was declined: use another card in the portal, or ask your bank",
                 "رُفضت الدفعة: استخدم بطاقة أخرى في البوابة، أو راجع مصرفك"}}},
};

static const struct advice due = {
    .needs_portal = true,
    .phrase = {{"A payment is due: pay it in the portal, then change the plan",
                "هناك دفعة مستحقة: ادفعها في البوابة ثم غيّر الخطة"}}};
static const struct phrase refused = {{[LANGUAGE_ARABIC] = "رفض مزوّد الدفع الطلب"}};
static const struct phrase unanswered = {{[LANGUAGE_ARABIC] = "مزوّد الدفع لا يجيب، حاول مجددًا"}};

const struct phrase *const advice_payment_due = &due.phrase;

static bool has_word(const struct advice *row, const struct stripe_call *call)
{
    for (size_t i = 0; i < WORDS && row->words[i] != NULL; i++) {
        if (strcmp(row->words[i], call->code) == 0 ||
            strcmp(row->words[i], call->decline_code) == 0)
            return row->param == NULL || strstr(call->param, row->param) != NULL;
    }
    return false;
}

static bool fits(const struct advice *row, const struct stripe_call *call)
{
    if (has_word(row, call) || (row->status != 0 && row->status == call->status))
        return true;
    for (size_t i = 0; i < SAID && row->said[i] != NULL; i++) {
        if (strstr(call->message, row->said[i]) != NULL)
            return true;
    }
    return false;
}

const struct phrase *advice_for(const struct stripe_call *call)
{
    for (size_t i = 0; i < count_of(rows); i++) {
        if (fits(&rows[i], call))
            return &rows[i].phrase;
    }
    return call->status >= 400 && call->status < 500 ? &refused : &unanswered;
}

bool advice_needs_portal(const struct phrase *phrase)
{
    for (size_t i = 0; i < count_of(rows); i++) {
        if (phrase == &rows[i].phrase)
            return rows[i].needs_portal;
    }
    return phrase == advice_payment_due;
}
