with newest as (
    select *
    from {{ source('lake', 'ticker_consensus') }}
    qualify row_number() over (partition by symbol order by day desc) = 1
),

dated as (
    select
        *,
        day = max(day) over () as is_current
    from newest
)

select
    dated.symbol,
    symbols.name as company_name,
    dated.day,
    dated.is_current,
    dated.score,
    before.score as previous_score,
    dated.score - before.score as change,
    -- A symbol that nobody has spoken of since competes with none.
    case
        when dated.published and dated.is_current
            then row_number() over (
                partition by dated.published and dated.is_current order by dated.score desc, dated.symbol
            )
    end as "rank",
    dated.published,
    dated.contested,
    dated.agreement,
    dated.net,
    dated.mass,
    dated.n_votes,
    dated.n_channels,
    dated.pos,
    dated.neg
from dated
left join {{ source('lake', 'ticker_consensus') }} as before
    on before.symbol = dated.symbol and before.day = dated.day - 1
left join {{ source('lake', 'symbols') }} as symbols
    on symbols.symbol = dated.symbol
order by dated.is_current desc, "rank" nulls last, dated.score desc, dated.symbol
