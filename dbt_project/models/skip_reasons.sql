-- What each reason says, for people; one that is not listed is shown with spaces.
{{ config(materialized='ephemeral') }}

select
    reason::varchar as reason,
    words::varchar as words
from (
    values
    ('short', 'a Short: under the minimum length, or called one by YouTube'),
    ('restricted', 'not for everyone: members only, paid, age-restricted or behind a login'),
    ('private', 'private'),
    ('deleted', 'deleted'),
    ('before_since', 'published before the channel is followed'),
    ('bad_captions', 'captions in a form that cannot be read'),
    ('unreadable', 'a file that cannot be read'),
    ('upcoming', 'announced, not shown yet'),
    ('live_now', 'live at the moment; read when it has ended'),
    ('awaiting_captions', 'no captions yet; looked for again'),
    ('no_captions', 'no captions, and looked for long enough'),
    ('source_blocked', 'YouTube turns this address away'),
    ('po_token_required', 'YouTube asks for a proof-of-origin token before it gives captions'),
    ('cooling_down', 'a pause, after too many requests'),
    ('transport', 'the network or a server failed; tried again'),
    ('cap_exhausted', 'the money for the day or month is used up'),
    ('cap_busy', 'open calls hold what is left under the cap'),
    ('credits_exhausted', 'the credits are used up'),
    ('quota_exhausted', 'the quota at the provider is used up'),
    ('request_too_large', 'one question costs more than the whole cap'),
    ('unpriced_model', 'nobody knows the price of the model'),
    ('payment_required', 'the provider asks for money'),
    ('provider_auth', 'the provider refuses the key'),
    ('breaker_open', 'the provider is stopped after too many failures'),
    ('ledger_unavailable', 'the control database cannot be written'),
    ('unknown_outcome', 'a call was cut off after it was sent; its answer is looked for'),
    ('invalid_request', 'the provider refuses the question as such'),
    ('invalid_output', 'no answer that holds so far; asked again'),
    ('internal_error', 'an error while the answer was read; tried again'),
    ('refused', 'the model declined to answer')
) as listed (reason, words)
