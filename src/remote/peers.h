/* The services that we call, as /metrics tells them apart. */
#pragma once

enum peer_name { PEER_STRIPE, PEER_MAIL, PEER_REDIS };

#define PEER_NAMES "stripe", "mail", "redis"
