-- What an export would bring out next, by the same rules: magpie/content/export.py.
select
    article_id,
    site_id,
    day,
    title,
    meta_title,
    meta_description,
    content_type,
    content_structure,
    primary_keyword,
    tags,
    categories,
    word_count,
    quality_score,
    quality_flags,
    images,
    images_missing,
    decided_at as approved_at,
    decided_by as approved_by
from {{ ref('reviewed_articles') }}
where
    state = 'approved'
    and not disabled
    and quality_score >= {{ env_var('MAGPIE_PUBLISH_MIN_QUALITY') | int }}
order by site_id, approved_at, article_id
