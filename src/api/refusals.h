/* What the handlers themselves refuse, as rows of the routes table (api/routes.c): the errors that
 * any route may answer are in core/errors.def. The text for users of each is in core/phrases.def.
 * Constant; any thread. */
#pragma once

#include "http/route.h"

extern const struct refusal not_ready[];
extern const struct refusal register_refusals[];
extern const struct refusal login_refusals[];
extern const struct refusal refresh_refusals[];
extern const struct refusal logout_refusals[];
extern const struct refusal code_refusals[];
extern const struct refusal reset_refusals[];
extern const struct refusal verification_refusals[];
extern const struct refusal verify_refusals[];
extern const struct refusal password_refusals[];
extern const struct refusal end_refusals[];
extern const struct refusal session_refusals[];
extern const struct refusal user_refusals[];
extern const struct refusal deactivate_refusals[];
extern const struct refusal role_refusals[];
extern const struct refusal trial_refusals[];
extern const struct refusal checkout_refusals[];
extern const struct refusal fulfil_refusals[];
extern const struct refusal portal_refusals[];
extern const struct refusal invoices_refusals[];
extern const struct refusal change_refusals[];
extern const struct refusal webhook_refusals[];
extern const struct refusal end_plan_refusals[];
extern const struct refusal give_refusals[];
extern const struct refusal event_refusals[];
extern const struct refusal stripe_refusals[];
