#include "api/refusals.h"

#define WAIT_TEXT "Please wait N seconds before requesting a new verification code"
#define NO_MAIL "Email configuration is incomplete"
#define NO_RESET "Password reset is not available"
#define NO_VERIFICATION "Email verification is not available"
#define BAD_CODE "Invalid or expired verification code"
#define LAST_ADMIN "The last active administrator cannot be removed"

const struct refusal not_ready[] = {
    {503, "A critical dependency is down, or the server is stopping", "Ready"}, {0}};
const struct refusal register_refusals[] = {
    {400, "Registration is not allowed"}, {422, "Email already exists"}, {0}};
const struct refusal login_refusals[] = {{401, "Invalid email or password"}, {0}};
const struct refusal refresh_refusals[] = {{401, "Invalid refresh token"},
                                           {401, "Invalid token type"},
                                           {401, "User not found or inactive"},
                                           {0}};
const struct refusal logout_refusals[] = {
    {400, "Logout is not allowed"}, {401, "Not authenticated"}, {0}};
const struct refusal code_refusals[] = {{400, NO_RESET}, {400, NO_MAIL}, {400, WAIT_TEXT}, {0}};
const struct refusal reset_refusals[] = {{400, NO_RESET}, {401, BAD_CODE}, {0}};
const struct refusal verification_refusals[] = {{400, NO_VERIFICATION},
                                                {400, "Email is already verified"},
                                                {400, NO_MAIL},
                                                {400, WAIT_TEXT},
                                                {0}};
const struct refusal verify_refusals[] = {
    {400, "Invalid password"},
    {401, BAD_CODE},
    {401, "Invalid or expired verification link"},
    {401, "Authentication failed"},
    {403, "Log in to confirm, or give the account's password; if you do not know it, choose a new "
          "one with a mailed code"},
    {0}};
const struct refusal password_refusals[] = {
    {400, "Invalid old password"}, {400, "Password change is not available"}, {0}};
const struct refusal end_refusals[] = {{400, "Invalid password"}, {400, LAST_ADMIN}, {0}};
const struct refusal session_refusals[] = {{404, "Session not found"}, {0}};
const struct refusal user_refusals[] = {{404, "User not found"}, {0}};
const struct refusal deactivate_refusals[] = {
    {400, "Cannot deactivate your own account"}, {400, LAST_ADMIN}, {404, "User not found"}, {0}};
const struct refusal role_refusals[] = {{400, LAST_ADMIN}, {404, "User not found"}, {0}};

const struct refusal trial_refusals[] = {{400, "Trial already activated"},
                                         {400, "Cannot activate trial for paid subscription"},
                                         {400, "Trial is not available"},
                                         {0}};
#define STRIPE_OFF "Billing is not configured"
#define STRIPE_REFUSES "The payment provider refused the request"
#define STRIPE_DOWN "The payment provider does not answer, please try again"
#define PAYMENT_FAILS "What to do about the payment, in the reader's language"
#define STRIPE_REFUSALS                                                                            \
    {409, "Other requests of yours are under way: try again when they are done"},                  \
        {502, STRIPE_REFUSES ", or what to do about it", "Advice"}, {503, STRIPE_OFF},             \
        {503, STRIPE_DOWN},                                                                        \
    {                                                                                              \
        0                                                                                          \
    }

#define PAID_BY_OTHERS                                                                             \
    "Your plan was paid with an e-mail address that is not the confirmed one of your account: "    \
    "the person who paid can manage it with Stripe's mails, or ask for help"

const struct refusal checkout_refusals[] = {
    {400, "Invalid plan: NAME"},
    {400, "Redirect URL is not allowed"},
    {409, "You have a subscription already: change its plan, or manage it in the portal"},
    {409, "A checkout is being opened: try again"},
    {409, "A payment is in progress: wait until it is complete"},
    STRIPE_REFUSALS};
const struct refusal fulfil_refusals[] = {{404, "Checkout session not found"}, STRIPE_REFUSALS};
const struct refusal portal_refusals[] = {{400, "No Stripe customer found for user: ID"},
                                          {400, "Redirect URL is not allowed"},
                                          {409, PAID_BY_OTHERS},
                                          STRIPE_REFUSALS};
const struct refusal invoices_refusals[] = {STRIPE_REFUSALS};
const struct refusal change_refusals[] = {
    {400, "Invalid plan: NAME"},
    {400, "This is your plan already"},
    {400, "There is no subscription to change"},
    {402, PAYMENT_FAILS, "Advice"},
    {409, PAID_BY_OTHERS},
    {409, "Your subscription ends on 2030-01-31: resume it first, then change the plan"},
    {409, "Your trial is over, and your subscription "
          "paused: resume it first, then change the plan, "
          "or cancel it and buy another one"},
    STRIPE_REFUSALS};
const struct refusal webhook_refusals[] = {{400, "Missing Stripe-Signature header"},
                                           {400, "Webhook processing failed: this is no event"},
                                           {401, "Invalid webhook signature"},
                                           {503, STRIPE_OFF},
                                           {0}};
const struct refusal end_plan_refusals[] = {
    {400, "There is no subscription to change"},
    {402, PAYMENT_FAILS, "Advice"},
    {409, PAID_BY_OTHERS},
    {409, "Your subscription ends on 2030-01-31 as agreed: ask for help to change that"},
    STRIPE_REFUSALS};

const struct refusal give_refusals[] = {{400, "Invalid plan: NAME"}, {404, "User not found"}, {0}};

const struct refusal event_refusals[] = {{404, "Event not found"}, {0}};
const struct refusal stripe_refusals[] = {
    {502, STRIPE_REFUSES}, {503, STRIPE_OFF}, {503, STRIPE_DOWN}, {0}};
