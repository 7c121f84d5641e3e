{% set points = [5, 10, 25, 50, 75, 90, 95] %}
select
    campaign_id,
    embed_model,
    count(distinct fullname) as n,
    {% for score in ['cosine', 'fused'] -%}
    {% for point in points -%}
    quantile_cont({{ score }}, {{ point / 100 }}) as {{ score }}_p{{ point }}
    {{- "," if not loop.last }}
    {% endfor -%}
    {{ "," if not loop.last }}
    {% endfor -%}
from {{ ref('scored_posts') }}
where cosine is not null
group by all
order by campaign_id, embed_model
